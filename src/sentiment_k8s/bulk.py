"""The pipeline as `sentiment classify` calls it: a text that cannot be classified is an outcome."""

from collections.abc import Sequence

from .classify import Files, Outcome, Progress, Summary, classify_files
from .errors import InferenceError, InputError
from .pipeline import Pipeline, check_texts
from .service import Service

# A file's reader bounds what is in flight, and nobody waits for one text.
UNBOUNDED = {"max_tokens_in_flight": 2**40, "deadline_seconds": 7 * 24 * 3600.0}


class BulkClassifier:
    """Classifies the texts of a file.

    Args:
        pipeline: of a running service.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def __call__(self, texts: Sequence[str], /) -> list[Outcome]:
        """An outcome for each text, in order."""
        refusals = [refusal(text) for text in texts]
        good = [text for text, reason in zip(texts, refusals, strict=True) if reason is None]
        outcomes = iter(await self._classify(good) if good else ())
        return [
            next(outcomes) if reason is None else Outcome(None, None, error=reason)
            for reason in refusals
        ]

    async def _classify(self, texts: list[str]) -> list[Outcome]:
        try:
            rows = await self._pipeline.classify(texts, request_id="classify")
        except (InferenceError, InputError) as error:
            if len(texts) == 1:
                return [Outcome(None, None, error=error.message)]
            return [outcome for text in texts for outcome in await self._classify([text])]
        return [Outcome(row.prediction, row.score, row.truncated) for row in rows]


def refusal(text: str) -> str | None:
    """Why a text cannot be classified; None if it can."""
    try:
        check_texts([text])
    except InputError as error:
        return error.message
    return None


async def classify_with(service: Service, files: Files, progress: Progress) -> Summary:
    """Start the service, classify what is left of the file, close."""
    async with service:
        return await classify_files(files, BulkClassifier(service.pipeline), progress)
