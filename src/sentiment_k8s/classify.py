"""`sentiment classify`: a file of texts in, the same file with predictions out.

    with open_files(job) as files:
        summary = await classify_files(files, classify)

The rows are read in chunks; while one is being classified the next is read and the last is
written, in input order.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from tqdm import tqdm

from .errors import InputError
from .files.background import in_daemon_thread
from .files.formats import input_format, open_encoder, open_reader
from .files.output import Merge, Output, Tally, open_output, unwritable
from .files.rows import Chunk, Encoder, Outcome, Position, Reader

__all__ = [
    "Classify",
    "Files",
    "Job",
    "Outcome",
    "Progress",
    "ProgressBar",
    "Summary",
    "classify_files",
    "open_files",
    "run",
]

ALL_CLASSIFIED, SOME_ERRORS, INTERRUPTED, READER_GONE = 0, 1, 130, 141


class Classify(Protocol):
    """Classifies texts, one outcome each in the order given; a poison text is an outcome too."""

    async def __call__(self, texts: Sequence[str], /) -> Sequence[Outcome]: ...


class Progress(Protocol):
    """Is told how far the output has come."""

    def __call__(self, position: Position, tally: Tally, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Job:
    """What to classify.

    Args:
        source: the input's path, or `-` for standard input.
        output: the output's path; `-` or None for standard output.
        column: the column with the texts; None to choose it.
        format: `auto`, `csv`, `jsonl`, `lines` or `parquet`.
        restart: begin anew instead of going on, and replace an output that exists.
        model: names the model (id, revision, precision); a run with another does not go on.
        chunk_rows: texts that are given to the classifier at once. It sorts them by length: more
            save padding, fewer are written sooner.
        chunks_in_flight: chunks that are being classified at the same time. With more than one, a
            classifier that mixes them makes batches by chance, and an int8 score depends in its
            last digits on the batch: a resumed run would not give the same bytes.
        checkpoint_seconds: seconds between two checkpoints: the work that a kill can cost.
    """

    source: str
    output: str | None = None
    column: str | None = None
    format: str = "auto"
    restart: bool = False
    model: str = ""
    chunk_rows: int = 512
    chunks_in_flight: int = 1
    checkpoint_seconds: float = 1.0

    @property
    def target(self) -> str | None:
        """The output's path; None for standard output."""
        return None if self.output == "-" else self.output

    @property
    def resumable(self) -> bool:
        """Whether a stopped run can be gone on with: the output is a regular file."""
        return self.target is not None and (
            not Path(self.target).exists() or Path(self.target).is_file()
        )


@dataclass(frozen=True, slots=True)
class Files:
    """An input and an output that are open and fit each other."""

    job: Job
    reader: Reader
    encoder: Encoder
    output: Output

    @property
    def done(self) -> Tally:
        """What earlier runs did."""
        return self.output.checkpoint.tally if self.output.checkpoint else Tally()


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did.

    Args:
        tally: counts since the first run.
        resumed: rows that earlier runs had done.
        seconds: duration of this run.
        first_error: row number and error of the first row that this run could not classify.
    """

    tally: Tally
    resumed: int
    seconds: float
    first_error: tuple[int, str] | None

    @property
    def exit_code(self) -> int:
        return SOME_ERRORS if self.tally.errors else ALL_CLASSIFIED

    def sentences(self) -> Iterator[str]:
        """What to tell the user."""
        fresh = self.tally.rows - self.resumed
        rate = fresh / self.seconds if self.seconds else 0.0
        before = f", {self.resumed:,} before" if self.resumed else ""
        yield f"{counted(fresh, 'row')} in {self.seconds:,.1f} s ({rate:,.0f} a second{before})."
        if self.tally.truncated:
            yield f"{counted(self.tally.truncated, 'text')} longer than the model takes: cut."
        yield from self.warnings()

    def warnings(self) -> Iterator[str]:
        """What the user must hear even when quiet."""
        if self.tally.errors:
            yield f"{counted(self.tally.errors, 'row')} could not be classified."
        if self.first_error:
            row, error = self.first_error
            yield f"The first is row {row:,}: {error}"


def counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


@contextmanager
def open_files(job: Job, stdout: BinaryIO | None = None) -> Iterator[Files]:
    """Opens input and output and goes to where an earlier run stopped.

    Everything that can be wrong with the files is said here, before a model is loaded.

    Args:
        job: what to classify.
        stdout: where an output without a name goes; the process's own by default.

    Raises:
        InputError: what is wrong, in a sentence.
    """
    kind = input_format(job.source, job.format)
    with closing(open_reader(job.source, kind, job.column)) as reader:
        encoder, merge = open_encoder(reader, kind, job.target)
        options = {
            "format": str(kind),
            "column": reader.column,
            "model": job.model,
            # In ONNX Runtime the last digits of an int8 score depend on what is batched.
            "chunk size": job.chunk_rows,
        }
        with closing(output_of(job, options, stdout or sys.stdout.buffer, merge)) as output:
            if output.checkpoint and output.checkpoint.position:
                reader.skip_to(output.checkpoint.position)
            yield Files(job, reader, encoder, output)


def output_of(
    job: Job, options: Mapping[str, object], stdout: BinaryIO, merge: Merge | None
) -> Output:
    target = job.target and Path(job.target)
    try:
        if target and job.source != "-" and target.exists() and target.samefile(job.source):
            raise InputError(f"{job.target!r} is the input; name another file for the output.")
        return open_output(
            job.target,
            options,
            stdout,
            restart=job.restart,
            every=job.checkpoint_seconds,
            merge=merge,
        )
    except PermissionError as error:
        raise unwritable(str(target), error) from error


async def classify_files(
    files: Files, classify: Classify, progress: Progress | None = None
) -> Summary:
    """Classifies what is left of the input and gives the output its name.

    Args:
        files: from `open_files`.
        classify: gets up to `chunk_rows` texts at a time, from several calls at once. A text that
            it cannot classify is an outcome with an error; what it raises stops the run, and a
            later run goes on.
        progress: is called after each chunk that was written.

    Raises:
        InputError: the input cannot be read further, or the output not be written.
        BrokenPipeError: the program that reads standard output has gone.
    """
    started = time.monotonic()
    tally, first_error = files.done, None
    if files.output.checkpoint is None:
        head = files.encoder.head()
        await in_daemon_thread(lambda: files.output.write(head, None, Tally()))
    async with aclosing(in_order(files, classify)) as answers:
        async for chunk, outcomes in answers:
            first_error = first_error or first_error_in(outcomes, tally.rows)
            tally = counting(tally, outcomes)
            await in_daemon_thread(write, files, chunk, outcomes, tally)
            if progress:
                progress(chunk.end, tally)
    await in_daemon_thread(files.output.finish)
    return Summary(tally, files.done.rows, time.monotonic() - started, first_error)


def write(files: Files, chunk: Chunk, outcomes: Sequence[Outcome], tally: Tally) -> None:
    files.output.write(files.encoder.encode(chunk, outcomes), chunk.end, tally)


def counting(tally: Tally, outcomes: Sequence[Outcome]) -> Tally:
    return Tally(
        tally.rows + len(outcomes),
        tally.errors + sum(outcome.error is not None for outcome in outcomes),
        tally.truncated + sum(outcome.truncated for outcome in outcomes),
    )


def first_error_in(outcomes: Sequence[Outcome], before: int) -> tuple[int, str] | None:
    return next(
        (
            (before + number, outcome.error)
            for number, outcome in enumerate(outcomes, 1)
            if outcome.error is not None
        ),
        None,
    )


Begun = tuple[Chunk, asyncio.Task[list[Outcome]]]


async def in_order(
    files: Files, classify: Classify
) -> AsyncGenerator[tuple[Chunk, list[Outcome]], None]:
    """Yields each chunk with its outcomes as soon as it and all before it are ready.

    The next chunk is read while others are being classified, and what is ready is bounded too.
    """
    room = asyncio.Semaphore(files.job.chunks_in_flight)
    begun: asyncio.Queue[Begun | Exception | None] = asyncio.Queue(2)
    running: set[asyncio.Task[Any]] = set()

    def ended(task: asyncio.Task[Any]) -> None:
        running.discard(task)
        room.release()

    async def begin_each() -> None:
        chunks = files.reader.chunks(files.job.chunk_rows)
        while chunk := await in_daemon_thread(lambda: next(chunks, None)):
            await room.acquire()
            task = asyncio.create_task(outcomes_of(chunk, classify))
            running.add(task)
            task.add_done_callback(ended)
            await begun.put((chunk, task))

    async def feed() -> None:
        fault = None
        try:
            await begin_each()
        except Exception as error:
            fault = error
        await begun.put(fault)

    feeding = asyncio.create_task(feed())
    try:
        while isinstance(item := await begun.get(), tuple):
            chunk, task = item
            yield chunk, await task
        # What was read before a fault in the input has been written; now say the fault.
        if item:
            raise item
    finally:
        left = [feeding, *running]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def outcomes_of(chunk: Chunk, classify: Classify) -> list[Outcome]:
    """An outcome for each row; only rows that have a text are given to the classifier."""
    texts = [text for text in chunk.texts if isinstance(text, str)]
    classified = iter(await classify(texts) if texts else ())
    return [
        next(classified) if isinstance(text, str) else Outcome(None, None, error=text.reason)
        for text in chunk.texts
    ]


class ProgressBar:
    """A bar on standard error with rate and time left; counts only, where the end is unknown.

    Args:
        files: what is being classified.
        shown: False for none; by default it is shown when standard error is a terminal and
            standard output is not the same terminal showing the rows.
    """

    def __init__(self, files: Files, *, shown: bool | None = None) -> None:
        if shown is None:
            rows_on_terminal = files.job.target is None and sys.stdout.isatty()
            shown = sys.stderr.isatty() and not rows_on_terminal
        checkpoint = files.output.checkpoint
        self._bar = tqdm(
            total=files.reader.size,
            initial=checkpoint.position.offset if checkpoint and checkpoint.position else 0,
            disable=not shown,
            bar_format="{percentage:3.0f}%|{bar}| {desc} {elapsed}, {remaining} left"
            if files.reader.size
            else "{desc} {elapsed}",
        )
        self._begun, self._rows = time.monotonic(), files.done.rows

    def __call__(self, position: Position, tally: Tally, /) -> None:
        rate = (tally.rows - self._rows) / max(time.monotonic() - self._begun, 1e-3)
        self._bar.set_description_str(f"{tally.rows:,} rows, {rate:,.0f}/s", refresh=False)
        self._bar.update(position.offset - self._bar.n)

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def run(
    work: Coroutine[Any, Any, Summary], job: Job, say: Callable[[str], object], *, quiet: bool
) -> int:
    """Runs the work to its exit code: 0 all classified, 1 some not, 130 stopped by Ctrl-C.

    Args:
        work: a coroutine that ends in `classify_files`.
        job: what it classifies.
        say: tells the user a sentence (on standard error).
        quiet: say only what went wrong.

    Returns:
        The exit code; 141, as a shell says of SIGPIPE, when the reader of standard output left.
    """
    try:
        summary = asyncio.run(work)
    except KeyboardInterrupt:
        say("Stopped." + (" Run the same command again to go on." if job.resumable else ""))
        return INTERRUPTED
    except BrokenPipeError:
        # What is still buffered would raise again at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    silent = quiet or job.target is None
    for sentence in summary.warnings() if silent else summary.sentences():
        say(sentence)
    return summary.exit_code
