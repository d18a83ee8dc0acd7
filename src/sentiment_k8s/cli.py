"""The command line: `sentiment serve | classify | model | db | spool | settings`."""

import asyncio
import os
import re
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from . import __version__
from .errors import InputError, SentimentError
from .settings import (
    Settings,
    allowed_values,
    environment_name,
    flag_name,
    load_settings,
    settings_table,
)

Command = TypeVar("Command", bound=Callable[..., Any])

MODEL_SETTINGS = ("model", "revision", "model_file")
DAY = re.compile(r"\d{4}-\d\d-\d\d")
RECORD_SETTINGS = ("database_url", "data_dir")


def settings_options(*names: str) -> Callable[[Command], Command]:
    """Give a command the flags of these settings."""

    def decorate(command: Command) -> Command:
        for name in reversed(names):
            field = Settings.model_fields[name]
            choices = allowed_values(name)
            default = "" if field.default is None else f"; default {field.default}"
            command = click.option(
                flag_name(name),
                name,
                type=click.Choice(choices) if choices else str,
                help=f"{field.description}  [{environment_name(name)}{default}]".replace("`", ""),
            )(command)
        return command

    return decorate


class Sentences(click.Group):
    """A group whose commands end in a sentence and an exit code, not in a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            fail(error.message, code=2)
        except SentimentError as error:
            fail(error.message)


def fail(message: str, code: int = 1) -> NoReturn:
    """Say what is wrong on standard error (and to Kubernetes, as the pod's last state) and exit."""
    click.echo(f"Error: {message}", err=True)
    termination_log = Path("/dev/termination-log")
    if "KUBERNETES_SERVICE_HOST" in os.environ and termination_log.exists():
        with suppress(OSError):  # it was said above anyway
            termination_log.write_text(message)
    sys.exit(code)


def run_on_uvloop(main: Coroutine[Any, Any, object]) -> None:
    """Run a coroutine on uvloop."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def whole_days(_: click.Context, __: click.Parameter, value: str) -> timedelta:
    """A time as `90d` or `12w`."""
    if not (match := re.fullmatch(r"([1-9][0-9]{0,4})([dw])", value)):
        raise click.BadParameter("it is written as 90d (days) or 12w (weeks).")
    number, unit = match.groups()
    return int(number) * timedelta(days=1 if unit == "d" else 7)


def given(value: str) -> str:
    """An option's value, or standard input without its last line break if it is a hyphen.

    Raises:
        InputError: it is nothing that a row could hold.
    """
    try:
        if value == "-":
            read = sys.stdin.buffer.read()
            value = read.removesuffix(b"\n").removesuffix(b"\r").decode()
        value.encode()  # an argument's bytes may be none of UTF-8
    except UnicodeError:
        value = ""
    if not value or "\0" in value:
        raise InputError("What to erase is empty or no UTF-8: no row can have it.")
    return value


@click.group(cls=Sentences, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sentiment")
def main() -> None:
    """Classify the sentiment of texts on plain CPUs, and keep a durable log of every answer.

    \b
    Try:
      sentiment serve                         the page and the API on 127.0.0.1:8000
      sentiment classify reviews.csv          a file, with a progress bar
      echo "I love AI!" | sentiment classify -

    Every flag is also an environment variable: `sentiment settings` lists them.
    """
    # NumPy multiplies no matrices here: its threads would only keep memory.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@main.command()
@settings_options(*Settings.model_fields)
def serve(**flags: object) -> None:
    """Serve the page and the API.

    Without DATABASE_URL an embedded PostgreSQL keeps the log in --data-dir. SIGTERM or Ctrl-C stops
    in order: unready, drain, flush the log, close.
    """
    from .logs import set_up_logging
    from .server import serve as serve_until_stopped

    settings = load_settings(flags)
    set_up_logging(settings.log_level)
    run_on_uvloop(serve_until_stopped(settings))


@main.command()
@click.argument("file")
@click.option("--column", help="Column with the texts; text, sentence or the only one by default.")
@click.option("--output", "-o", help="File to write; standard output by default.")
@click.option(
    "--format",
    type=click.Choice(["auto", "csv", "jsonl", "lines", "parquet"]),
    default="auto",
    help="Format of FILE; by its name by default, lines for standard input.",
)
@click.option("--restart", is_flag=True, help="Begin anew instead of going on after a stop.")
@click.option("--record", is_flag=True, help="Write every answer to the log, as the server does.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar; say only what went wrong.")
@settings_options(*MODEL_SETTINGS, *RECORD_SETTINGS)
def classify(
    file: str,
    column: str | None,
    output: str | None,
    format: str,  # noqa: A002  # the flag's name
    restart: bool,
    record: bool,
    quiet: bool,
    **flags: object,
) -> None:
    """Classify the texts of FILE, or of standard input when it is a hyphen.

    CSV, JSON Lines, plain lines and Parquet (with the extra [parquet]). The output is the input
    with the columns prediction, score, truncated and error; of plain lines it is prediction, score
    and the line, between tabs. A run with --output that was stopped, even by a SIGKILL, goes on
    when the same command is run again; what it did in its last second is then recorded twice.

    Exit status: 0 all rows classified; 1 some have an error; 2 wrong usage or input; 130 Ctrl-C.

    \b
      sentiment classify reviews.csv --column review -o classified.csv
      echo "I love AI!" | sentiment classify -
    """
    from .bulk import UNBOUNDED, classify_with
    from .classify import Job, ProgressBar, open_files, run
    from .hub import find_model
    from .logs import set_up_logging
    from .service import Service

    set_up_logging("warning")
    recording = {"record": "required" if record else "off", "spool": "strict"}
    settings = load_settings(flags | UNBOUNDED | recording)
    found = find_model(settings.model, settings.revision, settings.model_file)
    job = Job(
        source=file,
        output=output,
        column=column,
        format=format,
        restart=restart,
        model=f"{found.id} {found.revision} {found.onnx.name}",
    )
    shown = False if quiet else None
    with open_files(job) as files, ProgressBar(files, shown=shown) as progress:
        work = classify_with(Service(settings), files, progress)
        code = run(work, job, lambda sentence: click.echo(sentence, err=True), quiet=quiet)
    sys.exit(code)


@main.group()
def model() -> None:
    """Show, pull or export a model."""


@model.command("show")
@settings_options(*MODEL_SETTINGS)
def model_show(**flags: object) -> None:
    """Load a model and say what it is: id, revision, precision, engine, labels, longest text."""
    from dataclasses import asdict

    from .hub import find_model
    from .model import Model
    from .service import threads_a_batch

    settings = load_settings(flags)
    files = find_model(settings.model, settings.revision, settings.model_file)
    model = Model(files, threads_a_batch(settings), settings.engine)
    for name, value in asdict(model.info).items():
        click.echo(f"{name:13} {', '.join(value) if isinstance(value, tuple) else value}")
    click.echo(f"{'file':13} {files.onnx} ({files.onnx.stat().st_size / 1e6:.1f} MB)")


@model.command("pull")
@click.argument("id")
@settings_options("revision", "model_file")
def model_pull(id: str, **flags: object) -> None:  # noqa: A002  # the argument's name in the help
    """Download a model from the hub into its cache, and say where it is."""
    from .hub import find_model

    settings = load_settings(flags | {"model": id})
    files = find_model(settings.model, settings.revision, settings.model_file)
    click.echo(f"{files.id} at revision {files.revision}: {files.onnx}")


@model.command("export")
@click.argument("id")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--revision", help="Hub revision: a commit, tag or branch.")
@click.option("--precision", type=click.Choice(["int8", "fp32"]), default="int8", show_default=True)
def model_export(id: str, folder: Path, revision: str | None, precision: str) -> None:  # noqa: A002
    """Turn a checkpoint (a hub ID or a folder with safetensors) into an ONNX FOLDER to serve.

    Needs the extra: pip install "sentiment-k8s[export]".
    """
    from .export import export

    export(id, folder, precision=precision, revision=revision)
    click.echo(f"Exported to {folder}: serve it by `sentiment serve --model {folder}`.")


@main.group()
def db() -> None:
    """Look after the log's database."""


@db.command("upgrade")
@settings_options("database_url")
@click.option("--wait", "wait_seconds", default=0.0, help="Seconds to wait for PostgreSQL.")
def db_upgrade(wait_seconds: float, **flags: object) -> None:
    """Bring the schema of DATABASE_URL to the newest version; does nothing when it is there."""
    from .errors import SettingsError
    from .logs import set_up_logging
    from .migrations import upgrade

    settings = load_settings(flags)
    set_up_logging(settings.log_level)
    if settings.database_url is None:
        raise SettingsError("DATABASE_URL is not set: say which database to upgrade.")
    run_on_uvloop(upgrade(settings.database_url.get_secret_value(), wait_seconds=wait_seconds))
    click.echo("The database is at the newest version.")


@main.group()
def spool() -> None:
    """Look into a spool, the rows that wait on disk while PostgreSQL is away."""


@spool.command("show")
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
@settings_options("spool_dir", "data_dir")
def spool_show(folder: Path | None, **flags: object) -> None:
    """Say what waits in FOLDER, by default the server's, also while a server uses it."""
    from .records import iso
    from .spool import inspect

    folder = folder or load_settings(flags).spool_folder
    try:
        found = inspect(folder)
    except OSError as error:
        fail(f"There is no spool to read in {folder} ({error.strerror}).")
    click.echo(f"rows     {found.rows}")
    click.echo(f"bytes    {found.bytes}")
    click.echo(f"oldest   {'-' if found.oldest is None else iso(found.oldest)}")
    click.echo(f"damaged  {found.damaged_records}")


@spool.command("drain")
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
@settings_options("database_url", "spool_dir", "data_dir")
def spool_drain(folder: Path | None, **flags: object) -> None:
    """Write what a server left in FOLDER to DATABASE_URL. A row that is there already stays as it
    is; a folder that a server uses is refused, since the server drains it."""
    from .adoption import drain_folder
    from .errors import SettingsError
    from .logs import set_up_logging

    settings = load_settings(flags)
    set_up_logging("error")
    if settings.database_url is None:
        raise SettingsError("DATABASE_URL is not set: say where the rows are to go.")
    folder = folder or settings.spool_folder
    if not folder.is_dir():
        raise SettingsError(f"There is no spool in {folder}: say which folder to drain.")
    dsn = settings.database_url.get_secret_value()
    run_on_uvloop(drain_folder(folder, dsn, click.echo))


@db.command("prune")
@click.option(
    "--keep", required=True, metavar="90d", callback=whole_days, help="Days (90d) or weeks (12w)."
)
@settings_options(*RECORD_SETTINGS)
def db_prune(keep: timedelta, **flags: object) -> None:
    """Drop what is older than --keep from the log, in whole weeks, while rows come in.

    The week that lies so far back stays. What goes: its weeks' tables, rows that lie in no week,
    feedback, and idempotency keys that have expired.
    """
    from .log_address import log_address
    from .retention import prune

    with log_address(load_settings(flags)) as address:
        gone = asyncio.run(prune(address, keep))
    click.echo(
        f"Dropped {len(gone.partitions)} weeks, {gone.rows} rows of other times, {gone.feedback} "
        f"corrections and {gone.keys} expired keys: the log begins on {gone.before:%Y-%m-%d}."
    )


@db.command("erase")
@click.option("--text", help="Rows of exactly this text; a hyphen reads it from standard input.")
@click.option("--subject", help="Rows of this person; a hyphen reads it from standard input.")
@settings_options(*RECORD_SETTINGS, "text_key")
def db_erase(text: str | None, subject: str | None, **flags: object) -> None:
    """Delete all rows of a text or of a person from the log, with their feedback.

    A text is found however the log has kept it: in full, redacted, or as a digest if the text key
    is given. Such rows that wait in a server's spool now are left out when it drains. A line in the
    table `erasures` says when how many rows were erased, not of whom. Backups are not touched.

    Other users of a machine see command lines: let a hyphen stand for what is confidential.

    \b
      sentiment db erase --subject customer-4711
      sentiment db erase --text - < text
    """
    from .log_address import log_address
    from .privacy import TextKeeper
    from .retention import erase

    if (text is None) == (subject is None):
        raise click.UsageError("Say either --text or --subject.")
    settings = load_settings(flags)
    if text is not None:
        erasure = partial(erase, what="text", forms=TextKeeper.of(settings).forms(given(text)))
    else:
        erasure = partial(erase, what="subject", forms=[given(subject or "")])
    with log_address(settings) as address:
        gone = asyncio.run(erasure(address))
    click.echo(
        f"Erased {gone.rows} rows, {gone.feedback} corrections and {gone.keys} idempotency keys."
    )


@main.group()
def log() -> None:
    """Read the log."""


@log.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--since", help="Only rows since then: 2026-01-31T12:00:00Z, or a day in UTC.")
@click.option("--until", help="Only rows before this time.")
@click.option("--label", help="Only rows with this prediction.")
@click.option("--of-model", help="Only rows of this model, by its id.")
@click.option("--min-score", help="Only rows with this score or more.")
@click.option("--max-score", help="Only rows with this score or less.")
@click.option("--text", help="Only texts with these words, or this text where digests are kept.")
@click.option("--replace", is_flag=True, help="Write FILE anew if it exists.")
@settings_options(*RECORD_SETTINGS, "record_text", "text_key")
def log_export(file: Path, replace: bool, **options: str | None) -> None:
    """Write the log to FILE: .parquet (with the extra [parquet]), .csv, .tsv or .jsonl.

    Newest first, with what feedback there is. Of DATABASE_URL, or of the embedded log, whether a
    server runs on it or not. FILE gets its name when it is complete.

    \b
      sentiment log export january.parquet --since 2026-01-01 --until 2026-02-01
    """
    from .log_address import log_address
    from .log_export import export_to
    from .privacy import TextKeeper
    from .schemas import PredictionFilters, filters_of, parse_strings

    options["model"] = options.pop("of_model")
    asked = {name: options.pop(name) for name in PredictionFilters.model_fields}
    settings = load_settings(options)
    given = {name: value for name, value in asked.items() if value is not None}
    for name in ("since", "until"):
        if DAY.fullmatch(given.get(name, "")):
            given[name] += "T00:00:00Z"
    query = parse_strings(PredictionFilters, given)
    filters = filters_of(query, TextKeeper.of(settings))
    with log_address(settings) as address:
        rows = asyncio.run(export_to(file, address, filters, replace=replace))
    click.echo(f"{rows} rows: {file}")


@main.command()
def settings() -> None:
    """List every setting: variable, flag, default, meaning."""
    click.echo(settings_table(), nl=False)
