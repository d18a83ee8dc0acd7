"""What an adapter says of a server that is measured beside ours."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..servers import Target
from ..wire import Wire

INSIDE = Path(__file__).parent / "inside"  # what runs within peers


class Unavailable(Exception):
    """A peer cannot be installed or started here; the message is the reason that the table
    gives."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a peer is given: the same cores and the same weights for each.

    Args:
        cores: that its server is pinned to; its threads are as many.
        checkpoint: fp32 weights as `transformers` writes them.
        fp32: the same weights as an ONNX model folder of ours.
        int8: the same as `fp32` in int8.
        database_url: a PostgreSQL that is already there.
        scratch: a folder for what it writes.
        log: a file for what it says.
    """

    cores: Sequence[int]
    checkpoint: Path
    fp32: Path
    int8: Path
    database_url: str
    scratch: Path
    log: Path

    @property
    def threads(self) -> int:
        return len(self.cores)

    @property
    def environment(self) -> dict[str, str]:
        """What every Python peer is told: as many threads as cores, no hub, no reports home, and
        where the weights are."""
        threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "THREADS")
        return dict.fromkeys(threads, str(self.threads)) | {
            "HF_HUB_OFFLINE": "1",
            "DO_NOT_TRACK": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "CHECKPOINT": str(self.checkpoint.absolute()),
            "INT8": str(self.int8.absolute()),
        }

    @property
    def onnx_environment(self) -> dict[str, str]:
        """Beside `environment`, for a peer that gives ONNX Runtime no number of threads."""
        return {"PYTHONPATH": str(INSIDE), "ORT_THREADS": str(self.threads)}


@dataclass(frozen=True, slots=True)
class Peer:
    """A server to measure.

    Args:
        name: in tables and on the command line.
        precision: of the weights that it multiplies by, "fp32" or "int8".
        wire: how it is asked.
        settings: in one line, which of its settings are not the defaults, for the table's notes;
            where they are documented stands in a comment of the adapter.
        install: brings it into `machine.cache()/peers` if it is not there yet.
        server: from a `Setting` to a server that is not started yet, with `ready=wire`.
            Both raise `Unavailable`.
        version: what the report says of its version.
    """

    name: str
    precision: str
    wire: Wire
    settings: str
    install: Callable[[], object]
    server: Callable[[Setting], Target]
    version: Callable[[], str | None] = lambda: None
