"""Where the time of our own encoder goes, function by function: Linux's perf, which samples it."""

import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, run
from typing import TYPE_CHECKING

from .operators import Part, Profile
from .work import Shape

if TYPE_CHECKING:
    from sentiment_k8s.model import Model
    from sentiment_k8s.tokenizer import Tokens

INWARD = "product: queries, keys, values (and the head)"
OUTWARD = "products: attention's output, narrowing"
WIDENING = "product: widening, with GELU"
ATTENTION = "attention"
REST, AROUND = "embeddings, the encoder's rest", "around the encoder: Python, libm, kernel"
# Functions of encoder.c that compilers leave apart; the others may be anywhere within one another.
KINDS = {
    "put_block": INWARD,
    "add_block": OUTWARD,
    "gelu_block": WIDENING,
    "attend": ATTENTION,
    "quantise": "quantise",
    "normalise": "LayerNorm",
}
SECONDS = 2.0  # at least
HERTZ = 1999  # a prime: in step with nothing


class CannotSample(Exception):
    """Why there is no profile, as a sentence."""


def profile(
    model: "Model",
    shape: Shape,
    batches: Sequence[Sequence["Tokens"]],
    *,
    seconds: float = SECONDS,
    perf: str = "perf",
) -> Profile:
    """Run batches while perf samples this thread, after one to warm up.

    Args:
        model: whose engine is our encoder.
        shape: of the model.
        batches: what the engine would be given; the profile is of one pass over them.
        seconds: at least, of whole passes.
        perf: the program.

    Raises:
        CannotSample: perf is not there, or may not sample.
    """
    model.run(max(batches, key=lambda batch: sum(map(len, batch))))
    with tempfile.TemporaryDirectory() as folder:
        samples, passes = Path(folder, "perf.data"), 0
        with _sampled(perf, samples):
            started = time.perf_counter()
            while (elapsed := time.perf_counter() - started) < seconds:
                for batch in batches:
                    model.run(batch)
                passes += 1
        command = [perf, "report", "--stdio", "--input", str(samples)]
        columns = ["--fields=period,dso,sym", "--field-separator=|"]
        report = run([*command, *columns], stdin=DEVNULL, capture_output=True, text=True)
    if report.returncode:
        raise CannotSample(_reason(report.stderr))
    lengths = [len(tokens) for batch in batches for tokens in batch]
    return summed(report.stdout, elapsed / passes, multiply_adds(shape, lengths))


def summed(report: str, seconds: float, multiply_adds: Mapping[str, int]) -> Profile:
    """The profile of what was sampled.

    Args:
        report: lines of period, library and symbol, as `perf report` writes them.
        seconds: that all samples together stand for.
        multiply_adds: by kind.

    Raises:
        CannotSample: it has no samples.
    """
    periods: dict[str, int] = {}
    for line in report.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        period, library, symbol = map(str.strip, line.split("|", 2))
        kind = kind_of(library, symbol)
        periods[kind] = periods.get(kind, 0) + int(period)
    total = sum(periods.values())
    if not total:
        raise CannotSample("perf took no samples.")
    parts = [
        Part(kind, seconds * period / total, multiply_adds.get(kind, 0))
        for kind, period in periods.items()
    ]
    return Profile(seconds, sorted(parts, key=lambda part: -part.seconds))


def kind_of(library: str, symbol: str) -> str:
    """The kind of work of a function: `[.] put_block.isra.0`, as GCC calls a copy of its own."""
    if not library.startswith("encoder-"):
        return AROUND
    return KINDS.get(symbol.split()[-1].partition(".")[0], REST)


def multiply_adds(shape: Shape, lengths: Sequence[int]) -> dict[str, int]:
    """Those that the encoder does for texts of these lengths, by kind: of the last layer it takes
    the queries, keys and values of all tokens, and the rest of each text's first one."""
    tokens, texts = sum(lengths), len(lengths)
    hidden, wide, before = shape.hidden, shape.intermediate, shape.layers - 1
    rows = before * tokens + texts
    return {
        INWARD: shape.layers * tokens * 3 * hidden**2 + texts * hidden * (hidden + shape.labels),
        OUTWARD: rows * hidden * (hidden + wide),
        WIDENING: rows * hidden * wide,
        ATTENTION: 2 * hidden * (before * sum(length**2 for length in lengths) + tokens),
    }


@contextmanager
def _sampled(perf: str, samples: Path) -> Iterator[None]:
    """perf samples this thread meanwhile, and has written all when this ends."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            control, thread = theirs.fileno(), threading.get_native_id()
            options = [f"--freq={HERTZ}", f"--tid={thread}", f"--output={samples}"]
            command = [perf, "record", *options, "--delay=-1", f"--control=fd:{control},{control}"]
            try:
                recorder = Popen(
                    command, pass_fds=[control], stdout=DEVNULL, stderr=PIPE, text=True
                )
            except OSError as error:
                raise CannotSample(f"{perf} cannot be run: {error.strerror}.") from None
        with recorder:
            if not _obeys(ours, b"enable\n"):
                raise CannotSample(_reason(recorder.communicate()[1]))
            try:
                yield
            finally:
                _obeys(ours, b"stop\n")
                recorder.communicate()  # until it has written the samples


def _obeys(control: socket.socket, command: bytes) -> bool:
    """Whether perf says that it has done so; it says nothing when it has ended."""
    try:
        control.sendall(command)
        return control.recv(16).startswith(b"ack")
    except OSError:
        return False


def _reason(said: str) -> str:
    """The first sentence of an error of perf's; advice comes after it."""
    lines = (line.strip() for line in said.splitlines())
    first = next((line for line in lines if line not in ("", "Error:")), "it does not say why.")
    return f"perf cannot sample here: {first}"
