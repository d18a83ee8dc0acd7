import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from sentiment_k8s.errors import (
    DatabaseUnavailable,
    DeadlineExceeded,
    InferenceError,
    InputError,
    Overloaded,
    TooLarge,
)
from sentiment_k8s.hub import find_model
from sentiment_k8s.metrics import Metrics
from sentiment_k8s.model import Logits, Model
from sentiment_k8s.pipeline import Pipeline, check_texts
from sentiment_k8s.records import Recorder
from sentiment_k8s.testing import MemoryStore
from sentiment_k8s.tokenizer import Tokens

from .tiny_models import write_tiny_model

MakePipeline = Callable[..., Pipeline]


class HeldModel(Model):
    """A model whose batches wait, once it is held, until it is released."""

    def __init__(self, folder: Path) -> None:
        self.batches: list[int] = []
        self.started = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._gate = threading.Event()
        self._gate.set()
        super().__init__(find_model(str(folder)), threads=1)

    def hold(self) -> None:
        self.batches.clear()
        self._gate.clear()

    def release(self) -> None:
        self._gate.set()

    def run(self, batch: Sequence[Tokens]) -> Logits:
        self.batches.append(len(batch))
        if not self._gate.is_set():
            self._loop.call_soon_threadsafe(self.started.set)
        assert self._gate.wait(20), "the test never released the model"
        return super().run(batch)


async def until_waiting(pipeline: Pipeline, texts: int) -> None:
    """Return when so many texts are tokenised and wait for the model."""
    while pipeline.waiting < texts:  # noqa: ASYNC110  # nobody announces it
        await asyncio.sleep(0)


@pytest.fixture
async def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def make_pipeline(store: MemoryStore, metrics: Metrics) -> AsyncIterator[MakePipeline]:
    """Makes pipelines over a model that record in `store`; closes them at the end."""
    made: list[Pipeline] = []

    def make(model: Model, **options: float) -> Pipeline:
        made.append(Pipeline(model, Recorder(store, metrics), metrics, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    store.release()
    for pipeline in made:
        await pipeline.close()


@pytest.fixture
def pipeline(make_pipeline: MakePipeline, tiny_model: Model) -> Pipeline:
    """A bag of words: "good" is POSITIVE, "bad" is NEGATIVE, "poison" makes the model fail."""
    return make_pipeline(tiny_model)


# An answer


async def test_a_text_is_classified_by_the_real_model(
    make_pipeline: MakePipeline, bundled_model: Model, store: MemoryStore
) -> None:
    [row] = await make_pipeline(bundled_model).classify(["I love AI!"])
    assert row.text == "I love AI!"
    assert row.prediction in bundled_model.info.labels
    assert sum(row.scores.values()) == pytest.approx(1, abs=1e-5)
    assert row.score == max(row.scores.values()) == row.scores[row.prediction]
    assert store.rows == [row]


async def test_answers_come_in_the_order_of_the_texts(pipeline: Pipeline) -> None:
    rows = await pipeline.classify(["good", "bad " * 20, "a good film", "bad"])
    assert [row.prediction for row in rows] == ["POSITIVE", "NEGATIVE", "POSITIVE", "NEGATIVE"]
    assert [row.tokens for row in rows] == [3, 22, 5, 3]


async def test_a_row_has_what_makes_it_reproducible(pipeline: Pipeline) -> None:
    [row] = await pipeline.classify(["good"], subject="person-7", request_id="r-1")
    info = pipeline.model.info
    assert (row.model, row.revision) == (info.id, info.revision)
    assert (row.precision, row.engine) == (info.precision, info.engine)
    assert row.scores == {"NEGATIVE": 0.119203, "POSITIVE": 0.880797}
    assert (row.subject, row.request_id, row.truncated) == ("person-7", "r-1", False)
    assert row.queue_seconds >= 0
    assert row.inference_seconds > 0
    assert row.id.int >> 80 == row.created_at.timestamp() * 1000


async def test_the_logits_of_the_answered_scores_are_there_for_who_asks(
    pipeline: Pipeline,
) -> None:
    logits: list[list[float]] = []
    await pipeline.classify(["good", "bad"], logits=logits)
    assert logits == [[-1, 1], [1, -1]]


async def test_an_answer_is_given_only_when_its_row_is_durable(
    pipeline: Pipeline, store: MemoryStore
) -> None:
    store.hold()
    answer = asyncio.create_task(pipeline.classify(["good"]))
    await store.under_way.wait()
    assert not answer.done()
    assert store.rows == []
    store.release()
    assert await answer == store.rows


async def test_texts_of_many_callers_share_batches_and_commits(
    make_pipeline: MakePipeline, tiny_folder: Path, store: MemoryStore
) -> None:
    model = HeldModel(tiny_folder)
    pipeline = make_pipeline(model)
    model.hold()
    first = asyncio.create_task(pipeline.classify(["good"]))
    await model.started.wait()
    callers = [asyncio.create_task(pipeline.classify([text])) for text in ["good", "bad"] * 10]
    await until_waiting(pipeline, 20)
    model.release()
    await asyncio.gather(first, *callers)
    assert model.batches == [1, 20]
    assert [len(commit) for commit in store.commits] == [1, 20]


async def test_without_a_recorder_the_answer_is_the_same(
    tiny_model: Model, metrics: Metrics
) -> None:
    pipeline = Pipeline(tiny_model, None, metrics)
    [row] = await pipeline.classify(["good"])
    assert row.prediction == "POSITIVE"
    await pipeline.close()


async def test_what_was_computed_is_counted(pipeline: Pipeline, metrics: Metrics) -> None:
    await pipeline.classify(["good", "bad", "a good film"])
    value = metrics.registry.get_sample_value
    assert value("sentiment_predictions_total", {"label": "POSITIVE"}) == 2
    assert value("sentiment_tokens_total") == 3 + 3 + 5
    assert value("sentiment_padding_tokens_total") == 2 + 2
    assert value("sentiment_batch_texts_sum") == 3
    assert value("sentiment_queue_seconds_count") == 3


# Texts that cannot be classified


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is blank"),
        (" \t\r\n\u00a0\u3000", "is blank"),
        ("good\0", "has a NUL character"),
        ("\ud83d alone", "has half a surrogate pair"),
        ("alone \ude00", "has half a surrogate pair"),
    ],
)
async def test_an_unusable_text_is_refused_by_its_number_before_any_work(
    pipeline: Pipeline, store: MemoryStore, metrics: Metrics, text: str, complaint: str
) -> None:
    with pytest.raises(InputError) as caught:
        await pipeline.classify(["good", text, "bad"])
    assert caught.value.message.startswith(f"Text 2 {complaint}")
    assert metrics.registry.get_sample_value("sentiment_tokens_total") == 0
    assert store.rows == []


def test_a_single_unusable_text_has_no_number() -> None:
    with pytest.raises(InputError, match=r"^The text is blank"):
        check_texts([" "])


def test_no_text_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="There is no text"):
        check_texts([])


@pytest.mark.parametrize(
    "text",
    [
        "😀",
        "👩‍👩‍👧‍👦",
        "خدمة رائعة",
        "שירות מצוין",
        "这部电影真好看",
        "\u200b",
        "a\u202eb",
        "\U0010ffff",
    ],
)
async def test_every_script_is_answered_and_kept_as_it_is(
    make_pipeline: MakePipeline, bundled_model: Model, store: MemoryStore, text: str
) -> None:
    await make_pipeline(bundled_model).classify([text])
    assert [row.text for row in store.rows] == [text]


async def test_a_text_that_is_too_long_is_truncated_and_says_so(pipeline: Pipeline) -> None:
    rows = await pipeline.classify(["good " * 62, "good " * 63])
    assert [(row.tokens, row.truncated) for row in rows] == [(64, False), (64, True)]


async def test_without_leave_to_truncate_a_long_text_is_refused_by_its_number(
    pipeline: Pipeline, store: MemoryStore
) -> None:
    with pytest.raises(TooLarge, match="Text 2 is longer than the 64 tokens"):
        await pipeline.classify(["good", "good " * 63], truncate=False)
    assert store.rows == []


async def test_without_leave_to_truncate_a_text_that_just_fits_is_answered(
    pipeline: Pipeline,
) -> None:
    [row] = await pipeline.classify(["good " * 62], truncate=False)
    assert not row.truncated


# Faults


async def test_no_answer_is_given_when_its_row_cannot_be_kept(
    pipeline: Pipeline, store: MemoryStore, metrics: Metrics
) -> None:
    store.failure = DatabaseUnavailable("PostgreSQL is away.")
    with pytest.raises(DatabaseUnavailable):
        await pipeline.classify(["good"])
    value = metrics.registry.get_sample_value
    assert value("sentiment_predictions_total", {"label": "POSITIVE"}) == 0
    assert len(await pipeline.classify(["good"])) == 1


async def test_a_text_that_breaks_the_model_hurts_only_its_own_caller(
    make_pipeline: MakePipeline, tiny_folder: Path
) -> None:
    model = HeldModel(tiny_folder)
    pipeline = make_pipeline(model)
    model.hold()
    texts = ["good", "poison", "bad"]
    callers = [asyncio.create_task(pipeline.classify([text])) for text in texts]
    await model.started.wait()
    model.release()
    good, poison, bad = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(poison, InferenceError)
    assert not isinstance(good, BaseException)
    assert not isinstance(bad, BaseException)
    assert (good[0].prediction, bad[0].prediction) == ("POSITIVE", "NEGATIVE")


async def test_a_failure_says_which_of_several_texts_it_was(pipeline: Pipeline) -> None:
    with pytest.raises(InferenceError, match="The model failed on text 3;"):
        await pipeline.classify(["good", "bad", "poison"])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
async def test_logits_that_are_no_numbers_are_an_error_and_no_answer(
    make_pipeline: MakePipeline, tmp_path: Path, store: MemoryStore, value: float
) -> None:
    folder = write_tiny_model(tmp_path, weights={"bad": (value, 0), "good": (0, 1)})
    pipeline = make_pipeline(Model(find_model(str(folder)), threads=1))
    with pytest.raises(InferenceError) as raised:
        await pipeline.classify(["bad"])
    assert "not finite" in str(raised.value.__cause__)
    assert [row.prediction for row in await pipeline.classify(["good"])] == ["POSITIVE"]
    assert [row.text for row in store.rows] == ["good"]


# Too much, too late, gone


async def test_beyond_the_tokens_in_flight_a_call_is_refused(
    make_pipeline: MakePipeline, tiny_model: Model, store: MemoryStore
) -> None:
    pipeline = make_pipeline(tiny_model, max_tokens_in_flight=8)
    store.hold()
    first = asyncio.create_task(pipeline.classify(["good good good"]))
    await store.under_way.wait()
    with pytest.raises(Overloaded):
        await pipeline.classify(["good good good"])
    store.release()
    await first
    assert len(await pipeline.classify(["good good good"])) == 1


async def test_in_flight_are_a_calls_exact_tokens_once_they_are_known(
    pipeline: Pipeline, store: MemoryStore
) -> None:
    store.hold()
    answer = asyncio.create_task(pipeline.classify(["a a a a"]))
    await store.under_way.wait()
    assert pipeline.admission.in_flight == 6
    store.release()
    await answer


async def test_room_is_given_back_however_a_call_ends(
    pipeline: Pipeline, store: MemoryStore
) -> None:
    await pipeline.classify(["good"])
    with pytest.raises(InferenceError):
        await pipeline.classify(["poison"])
    store.failure = DatabaseUnavailable("PostgreSQL is away.")
    with pytest.raises(DatabaseUnavailable):
        await pipeline.classify(["good"])
    with pytest.raises(TooLarge):
        await pipeline.classify(["good " * 100], truncate=False)
    assert pipeline.admission.in_flight == 0


async def test_a_late_answer_is_an_error_and_its_work_is_dropped(
    make_pipeline: MakePipeline, tiny_folder: Path, store: MemoryStore
) -> None:
    model = HeldModel(tiny_folder)
    pipeline = make_pipeline(model, deadline_seconds=0.5)
    model.hold()
    running = asyncio.create_task(pipeline.classify(["good"]))
    await model.started.wait()
    with pytest.raises(DeadlineExceeded, match=r"No answer within 0\.5 seconds"):
        await pipeline.classify(["bad"])
    with pytest.raises(DeadlineExceeded):
        await running
    assert pipeline.admission.in_flight == 0
    model.release()
    await pipeline.close()
    assert model.batches == [1]
    assert store.rows == []


async def test_a_commit_that_takes_too_long_is_a_late_answer(
    make_pipeline: MakePipeline, tiny_model: Model, store: MemoryStore
) -> None:
    store.hold()
    with pytest.raises(DeadlineExceeded):
        await make_pipeline(tiny_model, deadline_seconds=0.2).classify(["good"])
    store.release()


async def test_a_caller_that_hangs_up_costs_nothing_more(
    make_pipeline: MakePipeline, tiny_folder: Path, store: MemoryStore
) -> None:
    model = HeldModel(tiny_folder)
    pipeline = make_pipeline(model)
    model.hold()
    running = asyncio.create_task(pipeline.classify(["good"]))
    await model.started.wait()
    gone = asyncio.create_task(pipeline.classify(["bad"] * 100))
    await until_waiting(pipeline, 100)
    gone.cancel()
    model.release()
    await running
    await pipeline.close()
    assert gone.cancelled()
    assert model.batches == [1]
    assert [row.text for row in store.rows] == ["good"]
    assert pipeline.admission.in_flight == 0


async def test_closing_answers_everybody_who_was_admitted(
    make_pipeline: MakePipeline, tiny_folder: Path, store: MemoryStore
) -> None:
    model = HeldModel(tiny_folder)
    pipeline = make_pipeline(model)
    model.hold()
    callers = [asyncio.create_task(pipeline.classify(["good"])) for _ in range(5)]
    await model.started.wait()
    closing = asyncio.create_task(pipeline.close())
    model.release()
    await closing
    assert all(caller.done() for caller in callers)
    assert len(store.rows) == 5
