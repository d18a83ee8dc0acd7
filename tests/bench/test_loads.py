import json

import pytest

from bench.client import Answer, Load
from bench.loads import NoAnswers, Right, judged, task, turns
from bench.report import percentile
from bench.wire import OURS, SEED

RIGHT = [Right("POSITIVE", 3.0), Right("NEGATIVE", 0.1), Right("NEGATIVE", 2.0)]


def answered(request: int, *labels: str, seconds: float = 0.01, status: int = 200) -> Answer:
    rows = [{"prediction": label, "score": 0.9} for label in labels]
    body = rows[0] if len(rows) == 1 else {"predictions": rows}
    return Answer(request, seconds, status, json.dumps(body).encode())


def load(*answers: Answer) -> Load:
    """Ten seconds, and reading took two more: 6 s of CPU, 3 of PostgreSQL's, 12 of the core's."""
    return Load(10.0, 0.25, list(answers), [[1.0, 2.0, 50.0, 100.0], [7.0, 5.0, 62.0, 112.0]])


def test_texts_are_grouped_and_the_rest_is_left_out() -> None:
    given = task(OURS, ["a", "b", "c"], RIGHT, 2)
    assert given.requests == [OURS.request(["a", "b"])]
    assert given.right == [RIGHT[:2]]
    assert task(SEED, ["a", "b", "c"], RIGHT).right == [[one] for one in RIGHT]


def test_answers_are_counted_by_text_and_compared_with_what_is_right() -> None:
    given = task(OURS, ["a", "b", "c"], RIGHT)
    measured = judged(
        load(
            answered(0, "POSITIVE"),
            answered(1, "POSITIVE"),  # on the fence
            answered(2, "POSITIVE"),  # a clear one
            answered(0, "POSITIVE", status=503),
            Answer(1, 2.0, 0, b""),
        ),
        given,
        memory_mib=100.0,
        clear=0.5,
    )
    assert (measured.answers, measured.errors) == (5, 2)
    assert (measured.other_labels, measured.clear_flips) == (2, 1)
    assert measured.texts_a_second == 0.3
    assert measured.p50 == 10.0
    assert measured.p99 == measured.worst == 2000.0


def test_cpu_time_is_for_the_seconds_between_the_two_readings() -> None:
    given = task(OURS, ["a"], RIGHT)
    measured = judged(load(*[answered(0, "POSITIVE")] * 5), given, memory_mib=1.0, clear=0.0)
    assert measured.server_cpu_share == pytest.approx(6 / 12)
    assert measured.server_cpu == pytest.approx(6 / 12 * 10 * 1000 / 5)
    assert measured.postgres_cpu == pytest.approx(3 / 12 * 10 * 1000 / 5)
    assert measured.others_share == pytest.approx(6 / 12)


def test_a_batch_counts_as_its_texts_and_is_wrong_as_a_whole_or_not_at_all() -> None:
    given = task(OURS, ["a", "b"], RIGHT, 2)
    measured = judged(
        load(answered(0, "POSITIVE", "NEGATIVE"), answered(0, "POSITIVE")),
        given,
        memory_mib=1.0,
        clear=0.0,
    )
    assert (measured.answers, measured.errors, measured.other_labels) == (4, 2, 0)
    assert measured.texts_a_second == 0.2


def test_a_success_with_an_error_inside_is_an_error() -> None:
    given = task(SEED, ["a"], RIGHT)
    wrong = Answer(0, 0.1, 200, b'{"error": "connection refused"}')
    assert judged(load(wrong), given, memory_mib=1.0, clear=0.0).errors == 1


def test_no_answer_at_all_is_no_measurement() -> None:
    given = task(OURS, ["a"], RIGHT)
    for answers in ([], [Answer(0, 1.0, 0, b"")] * 3):
        with pytest.raises(NoAnswers, match="no answer at all"):
            judged(load(*answers), given, memory_mib=1.0, clear=0.0)


def test_every_other_round_goes_backwards() -> None:
    assert turns(["a", "b", "c"], 3) == [["a", "b", "c"], ["c", "b", "a"], ["a", "b", "c"]]


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, at) for at in (50, 95, 99, 100)] == [50.0, 95.0, 99.0, 100.0]
    assert percentile([7.0], 99) == 7.0
    assert percentile([1.0, 2.0, 3.0], 50) == 2.0
