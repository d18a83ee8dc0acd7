"""The one table of settings: environment variables, command-line flags and docs come from it."""

import os
import re
import types
import typing
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field, SecretStr, ValidationError

from .errors import SettingsError

PREFIX = "SENTIMENT_"

# Kubernetes puts variables like SENTIMENT_SERVICE_PORT=tcp://... for a Service `sentiment-service`
# into every pod of its namespace that does not say enableServiceLinks: false. A Service `sentiment`
# gives SENTIMENT_PORT=tcp://..., which only its value tells from our own setting.
SERVICE_LINK = re.compile(
    r"\w+_(SERVICE_HOST|SERVICE_PORT\w*|PORT_\d+_(TCP|UDP|SCTP)\w*)=.*"
    r"|\w+_PORT=(tcp|udp|sctp)://.*",
    re.DOTALL,
)


class Settings(BaseModel):
    """What an operator may choose. Field `x` is `SENTIMENT_X` and `--x`; `database_url` is
    `DATABASE_URL`, as everywhere else."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False
    )

    model: str = Field("bundled", description="Model: `bundled`, a folder, or a hub id.")
    revision: str | None = Field(
        None, description="Hub revision: a commit, tag or branch; a commit pins the model."
    )
    model_file: str | None = Field(
        None,
        description="ONNX file inside the model, when it has several; int8 is taken otherwise.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Serve `/metrics` on this port of its own instead of the API's.",
    )
    database_url: SecretStr | None = Field(
        None, description="PostgreSQL 15 or newer; without it an embedded one is started."
    )
    data_dir: Path = Field(
        Path(".sentiment"), description="Folder for the embedded PostgreSQL's data."
    )
    record: Literal["auto", "required", "off"] = Field(
        "auto",
        description="`auto` writes every answer to PostgreSQL, by URL or embedded, and says so "
        "where there is neither; `required` refuses to start then; `off` writes nothing.",
    )
    read: Literal["token", "open"] = Field(
        "token",
        description="Who may read the log: `token` asks for the read token (without one, only "
        "this machine may, and only where --host is a loopback address); `open` is for everyone.",
    )
    read_token: SecretStr | None = Field(
        None, description="Bearer token for `/predictions` and `/stats`."
    )
    max_body_bytes: ByteSize = Field(
        ByteSize(2 * 1024 * 1024), gt=0, description="Largest request body."
    )
    max_texts: int = Field(256, ge=1, description="Most texts in one request.")
    max_tokens_in_flight: int = Field(
        32_768, ge=512, description="Tokens admitted at once; beyond it the answer is 429."
    )
    max_connections: int = Field(
        4096, ge=1, description="Open connections; one more is closed at once."
    )
    deadline_seconds: float = Field(
        30.0, gt=0, description="A request not answered by then gets 504."
    )
    body_timeout_seconds: float = Field(
        10.0, gt=0, description="Time for a request's head, and for its body, to arrive."
    )
    keep_alive_seconds: int = Field(
        75,
        ge=1,
        description="An idle connection, or an answer nobody reads, is dropped after this.",
    )
    record_text: Literal["full", "redacted", "hash"] = Field(
        "full",
        description="What the log keeps of a text: all, what is left without addresses and "
        "numbers of persons, or a digest keyed by the text key.",
    )
    text_key: SecretStr | None = Field(
        None,
        min_length=16,
        description="Secret key of the digests, the same for all servers of one log; "
        "--record-text hash needs it.",
    )
    idempotency_seconds: int = Field(
        24 * 3600, ge=1, description="For how long the answer to an Idempotency-Key is kept."
    )
    commit_timeout_seconds: float = Field(
        0.8,
        gt=0,
        description="A commit that takes longer is given up: its rows go to the spool, or the "
        "answer is 503.",
    )
    spool: Literal["on", "strict"] = Field(
        "on",
        description="While PostgreSQL is away: `on` keeps rows on disk until it is back, `strict` "
        "answers 503.",
    )
    spool_dir: Path | None = Field(
        None, description="Folder of the spool, of this server alone; `spool` in the data folder."
    )
    spool_max_bytes: ByteSize = Field(
        ByteSize(256 * 1024 * 1024), gt=0, description="Most bytes in the spool; then it is 503."
    )
    spool_adopt: bool = Field(
        False,
        description="Also write what is left in folders beside the spool's whose servers are gone.",
    )
    token_budget: int = Field(
        512, ge=1, description="Tokens in one batch, padding included; one text may exceed it."
    )
    threads: int | None = Field(
        None,
        ge=1,
        description="Threads for inference; by default the cores that the affinity mask and the "
        "cgroup's CPU quota leave.",
    )
    threads_per_batch: int = Field(
        1,
        ge=1,
        description="How many of them work on one batch. With 1 each core has a batch of its own, "
        "which answers most texts a second; more answer a long text sooner when it comes alone.",
    )
    engine: Literal["auto", "onnxruntime"] = Field(
        "auto",
        description="What computes the model. `auto`: our own encoder in C for models of the BERT "
        "family on x86-64 CPUs with AVX2 under Linux, where it was compiled, as long as each "
        "thread has a batch of its own, else ONNX Runtime.",
    )
    shutdown_delay_seconds: float = Field(
        0.0,
        ge=0,
        description="After SIGTERM: go on serving for this long while `/health/ready` says 503, "
        "so that load balancers look away first.",
    )
    shutdown_timeout_seconds: int = Field(
        25, ge=1, description="Then: time for the requests in flight to end."
    )
    access_log: Literal["errors", "all", "off"] = Field(
        "errors",
        description="Which requests are logged: failed ones (those refused by their heads in "
        "overload by their number, once a second), all, none. Never a text.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level that is logged."
    )

    @property
    def spool_folder(self) -> Path:
        """The folder of the spool."""
        return (self.spool_dir or self.data_dir / "spool").absolute()

    @property
    def on_loopback(self) -> bool:
        """Whether the address to listen on is one that only this machine can reach."""
        return is_loopback(self.host)


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine to itself."""
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


def environment_name(field: str) -> str:
    """The environment variable of a setting."""
    return "DATABASE_URL" if field == "database_url" else PREFIX + field.upper()


def flag_name(field: str) -> str:
    """The command-line flag of a setting."""
    return "--" + field.replace("_", "-")


def allowed_values(field: str) -> tuple[str, ...]:
    """The values of a setting that is a choice; empty for any other."""
    annotation = Settings.model_fields[field].annotation
    return typing.get_args(annotation) if typing.get_origin(annotation) is Literal else ()


def value_kind(field: str) -> str:
    """How a setting's value is written, in a word: for help and docs."""
    choices = allowed_values(field)
    if choices:
        return " \\| ".join(choices)
    annotation: Any = Settings.model_fields[field].annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        annotation = next(a for a in typing.get_args(annotation) if a is not type(None))
    kinds = {
        ByteSize: "bytes",
        bool: "true \\| false",
        int: "integer",
        float: "number",
        Path: "path",
    }
    return kinds.get(annotation, "text")


def load_settings(
    overrides: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Read the settings: flags win over the environment, which wins over the defaults.

    Args:
        overrides: values by field name; None means not given.
        environ: the environment, `os.environ` if None. An empty variable counts as unset.

    Raises:
        SettingsError: a value cannot be used, or `SENTIMENT_*` names no setting.
    """
    environ = os.environ if environ is None else environ
    by_variable = {environment_name(field): field for field in Settings.model_fields}
    values: dict[str, object] = {}
    for name, value in environ.items():
        if SERVICE_LINK.fullmatch(f"{name}={value}"):
            continue
        if name in by_variable:
            values |= {by_variable[name]: value} if value else {}
        elif name.startswith(PREFIX):
            raise SettingsError(f"{name} is not a setting; `sentiment settings` lists them all.")
    values |= {field: value for field, value in (overrides or {}).items() if value is not None}
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = str(first["loc"][0])
        raise SettingsError(
            f"{environment_name(field)} ({flag_name(field)}): {first['msg']}."
        ) from None


def settings_table() -> str:
    """All settings as a Markdown table."""
    rows = ["| variable | flag | value | default | meaning |", "|---|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        rows.append(
            f"| `{environment_name(name)}` | `{flag_name(name)}` | {value_kind(name)} "
            f"| {default} | {field.description} |"
        )
    return "\n".join(rows) + "\n"
