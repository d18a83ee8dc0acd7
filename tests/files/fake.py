"""A classifier whose answer is plain to see in the text, and a program that runs it on a file."""

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sentiment_k8s.classify import Job, Outcome, Summary, classify_files, open_files, run
from sentiment_k8s.files.background import in_daemon_thread
from sentiment_k8s.files.output import Tally
from sentiment_k8s.files.rows import Position


async def by_length(texts: Sequence[str]) -> list[Outcome]:
    """POSITIVE for an even length; cut over 40 characters; an error for `poison`."""
    await asyncio.sleep(0)
    return [outcome(text) for text in texts]


def outcome(text: str) -> Outcome:
    if text == "poison":
        return Outcome(None, None, error="The model failed on this text.")
    label = "NEGATIVE" if len(text) % 2 else "POSITIVE"
    return Outcome(label, 1 / (1 + len(text) % 7), truncated=len(text) > 40)


def classify(source: Path | str, output: Path | str | None = None, **options: object) -> Summary:
    """Classifies a file with `by_length` to its end."""
    return asyncio.run(work(job_of(source, output, **options)))


def job_of(source: Path | str, output: Path | str | None, **options: object) -> Job:
    target = None if output is None else str(output)
    return Job(str(source), target, **options)  # type: ignore[arg-type]


async def work(job: Job, *, paced: bool = False, tell: bool = False) -> Summary:
    """Classifies a file; `paced` waits for a byte of standard input, or its end, before a chunk."""

    async def at_a_pace(texts: Sequence[str]) -> list[Outcome]:
        await in_daemon_thread(os.read, 0, 1)
        return await by_length(texts)

    def progress(_: Position, tally: Tally) -> None:
        sys.stderr.write(f"{tally.rows}\n")
        sys.stderr.flush()

    with open_files(job) as files:
        classifier = at_a_pace if paced else by_length
        return await classify_files(files, classifier, progress if tell else None)


class Stopped(Exception):
    """Ends a run from within its classifier."""


def stop_after(chunks: int, source: Path, output: Path, **options: object) -> None:
    """Begins a run that ends when its classifier is called once more than `chunks` times."""
    calls = 0

    async def stopping(texts: Sequence[str]) -> list[Outcome]:
        nonlocal calls
        calls += 1
        if calls > chunks:
            raise Stopped
        return await by_length(texts)

    async def work() -> None:
        with open_files(job_of(source, output, chunks_in_flight=1, **options)) as files:
            await classify_files(files, stopping)

    with suppress(Stopped):
        asyncio.run(work())


def main(source: str, output: str, kind: str, pace: str = "free") -> int:
    """Classifies in small chunks, a checkpoint each, and tells of each on standard error."""
    job = Job(source, output, format=kind, chunk_rows=50, checkpoint_seconds=0)
    work_told = work(job, paced=pace == "paced", tell=True)
    return run(work_told, job, lambda text: sys.stderr.write(text + "\n"), quiet=False)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Gives up root's right to read and write everything, where the tests run as root."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
