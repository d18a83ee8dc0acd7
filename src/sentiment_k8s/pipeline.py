"""The whole way of a text: admit, tokenise, batch, infer, record, answer."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np

from .admission import Admission, estimated_tokens
from .batcher import Batcher
from .errors import DeadlineExceeded, InputError, TooLarge
from .metrics import Metrics
from .model import Model
from .privacy import TextKeeper
from .records import Identities, PredictionRow, Recorder
from .tokenizer import Tokens

# A batch costs about this many tokens beyond its own: 2 to 3 in ONNX Runtime (measured: MiniLM-L6
# int8 on one VNNI core, 25 tokens alone 49 us a token, 8 texts of them 42), the rest around it.
BATCH_OVERHEAD_TOKENS = 4
# Batches run together before their answers go out: more tokens find more texts of one length and
# wake the event loop more seldom, and the first answers wait longer for the last.
BATCHES_A_ROUND = 2
# Texts are tokenised together up to this many characters, so that a huge one delays few others.
CHARACTERS_A_TOKENISING_BATCH = 65_536


@dataclass(frozen=True, slots=True)
class Asked:
    """A text to classify, and whether it may be cut."""

    text: str
    number: int
    truncate: bool


@dataclass(frozen=True, slots=True)
class Inference:
    """What came of one text: its tokens, what the log keeps of it, a score a label, the logits that
    they were made from, and when its batch ran and how long (`time.perf_counter` seconds)."""

    tokens: Tokens
    kept: str
    scores: list[float]
    logits: list[float]
    started: float
    seconds: float


class Pipeline:
    """Classifies texts and answers only once their rows are durable.

    Args:
        model: a loaded model.
        recorder: the log; None writes nothing.
        metrics: where to count.
        keeper: says what the log keeps of a text; all of it by default.
        max_tokens_in_flight: bound of admission.
        token_budget: bound of a batch, padding included.
        threads: that tokenise and run the model side by side, each a batch of its own.
        deadline_seconds: time a call may take.
    """

    def __init__(
        self,
        model: Model,
        recorder: Recorder | None,
        metrics: Metrics,
        *,
        keeper: TextKeeper | None = None,
        max_tokens_in_flight: int = 32_768,
        token_budget: int = 512,
        threads: int = 1,
        deadline_seconds: float = 30.0,
    ) -> None:
        self.model = model
        self.recorder = recorder
        self.admission = Admission(max_tokens_in_flight)
        self._metrics = metrics
        self._keeper = keeper or TextKeeper()
        self._answered = {label: metrics.predictions.labels(label) for label in model.info.labels}
        self._deadline_seconds = deadline_seconds
        self._identities = Identities()
        self._batcher: Batcher[Asked, tuple[Tokens, str], Inference] = Batcher(
            self._tokenise,
            self._infer,
            lambda read: len(read[0]),
            weight=lambda asked: len(asked.text),
            most_weight=CHARACTERS_A_TOKENISING_BATCH,
            budget=token_budget,
            round_budget=BATCHES_A_ROUND * token_budget,
            overhead=BATCH_OVERHEAD_TOKENS,
            padded=model.engine.pads,
            threads=threads,
            name="infer",
        )

    @property
    def waiting(self) -> int:
        """Texts that wait for the model."""
        return self._batcher.waiting

    async def classify(
        self,
        texts: Sequence[str],
        *,
        truncate: bool = True,
        subject: str | None = None,
        request_id: str = "",
        logits: list[list[float]] | None = None,
        record: Callable[[Sequence[PredictionRow]], Awaitable[None]] | None = None,
    ) -> list[PredictionRow]:
        """Classify texts, in order; their rows are durable when this returns.

        Args:
            texts: what to classify.
            truncate: cut an over-long text; otherwise it is an error.
            subject: opaque id of the person, kept with the row for later erasure.
            request_id: kept with the row.
            logits: the texts' logits are added to it; a row has none.
            record: makes the rows durable, in the recorder's place.

        Raises:
            InputError, TooLarge: a text cannot be classified.
            Overloaded, DeadlineExceeded, InferenceError, DatabaseUnavailable: no answer now.
        """
        check_texts(texts)
        arrived = time.perf_counter()
        with self.admission.admit(estimated_tokens(texts, self.model.info.max_tokens)) as permit:
            async with answered_within(self._deadline_seconds):
                asked = [Asked(text, number, truncate) for number, text in enumerate(texts, 1)]
                inferences = await self._batcher.submit(asked)
                permit.settle(sum(len(inference.tokens) for inference in inferences))
                rows = [
                    self._row(inference, arrived, subject, request_id) for inference in inferences
                ]
                if record is not None:
                    await record(rows)
                elif self.recorder is not None:
                    await self.recorder.record(rows)
        for row in rows:
            self._answered[row.prediction].inc()
        if logits is not None:
            logits += [inference.logits for inference in inferences]
        return rows

    async def close(self) -> None:
        """Finish what was admitted, then flush the log."""
        await self._batcher.close()
        if self.recorder is not None:
            await self.recorder.close()

    def _tokenise(self, asked: list[Asked]) -> list[tuple[Tokens, str] | TooLarge]:
        """In the inference thread: the tokens of each text, and what the log keeps of it."""
        texts = [each.text for each in asked]
        encoded = self.model.tokenizer.encode(texts)
        return [
            self._too_long(each.number)
            if tokens.truncated and not each.truncate
            else (tokens, self._keeper.kept(each.text))
            for each, tokens in zip(asked, encoded, strict=True)
        ]

    def _infer(self, batch: list[tuple[Tokens, str]]) -> list[Inference]:
        """In the inference thread: one batch through the model."""
        started = time.perf_counter()
        lengths = [len(tokens) for tokens, _ in batch]
        logits = self.model.run([tokens for tokens, _ in batch])
        if not np.isfinite(logits).all():
            raise ValueError("its logits are not finite")
        scores = np.round(self.model.scores(logits).astype(np.float64), 6).tolist()
        seconds = time.perf_counter() - started
        self._metrics.tokens.inc(sum(lengths))
        if self.model.engine.pads:
            self._metrics.padding.inc(len(batch) * max(lengths) - sum(lengths))
        self._metrics.batch_texts.observe(len(batch))
        self._metrics.inference_seconds.observe(seconds)
        return [
            Inference(tokens, kept, own_scores, own_logits, started, seconds)
            for (tokens, kept), own_scores, own_logits in zip(
                batch, scores, logits.tolist(), strict=True
            )
        ]

    def _too_long(self, number: int) -> TooLarge:
        return TooLarge(
            f"Text {number} is longer than the {self.model.info.max_tokens} tokens that "
            "the model takes: shorten it, or let its end be cut."
        )

    def _row(
        self,
        inference: Inference,
        arrived: float,
        subject: str | None,
        request_id: str,
    ) -> PredictionRow:
        identity, created_at = self._identities.next()
        info = self.model.info
        scores = dict(zip(info.labels, inference.scores, strict=True))
        prediction = max(scores, key=scores.__getitem__)
        queued = inference.started - arrived
        self._metrics.queue_seconds.observe(queued)
        return PredictionRow(
            id=identity,
            created_at=created_at,
            text=inference.kept,
            prediction=prediction,
            score=scores[prediction],
            scores=scores,
            model=info.id,
            revision=info.revision,
            precision=info.precision,
            engine=info.engine,
            tokens=len(inference.tokens),
            truncated=inference.tokens.truncated,
            queue_seconds=queued,
            inference_seconds=inference.seconds,
            request_id=request_id,
            subject=subject,
        )


@asynccontextmanager
async def answered_within(seconds: float) -> AsyncIterator[None]:
    """Ends what takes longer.

    Raises:
        DeadlineExceeded: it did.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise DeadlineExceeded(
            f"No answer within {seconds:g} seconds: retry, or send fewer texts at once."
        ) from None


def check_texts(texts: Sequence[str]) -> None:
    """Refuse what cannot be classified or cannot be kept as it is.

    Raises:
        InputError: no text; a blank one; a NUL character, which PostgreSQL cannot store; a lone
            surrogate, which is half a character and no valid Unicode.
    """
    if not texts:
        raise InputError("There is no text to classify.")
    for number, text in enumerate(texts, 1):
        which = "The text" if len(texts) == 1 else f"Text {number}"
        if not text or text.isspace():
            raise InputError(f"{which} is blank: send at least one visible character.")
        if "\0" in text:
            raise InputError(f"{which} has a NUL character, which the log cannot store: remove it.")
        if not text.isascii() and _has_lone_surrogate(text):
            raise InputError(f"{which} has half a surrogate pair, which is no valid Unicode.")


def _has_lone_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
