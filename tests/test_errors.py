import re
from collections.abc import Iterator

import pytest

from sentiment_k8s import errors
from sentiment_k8s.errors import Overloaded, SentimentError, StartError

DRAWN_CLASS = re.compile(r"^([│ ]*)[├└]── (\w+) +(\d{3})?", re.MULTILINE)


def classes(base: type[SentimentError] = SentimentError, depth: int = 0) -> Iterator[str]:
    """The tree of classes in the manner of the drawing: depth, name and status."""
    for cls in base.__subclasses__():
        status = "" if issubclass(cls, StartError) else cls.status
        yield f"{depth} {cls.__name__} {status}"
        yield from classes(cls, depth + 1)


def test_the_drawing_is_the_tree_of_classes() -> None:
    drawing = DRAWN_CLASS.findall(errors.__doc__ or "")
    assert [f"{len(indent) // 4} {name} {status}" for indent, name, status in drawing] == list(
        classes()
    )


def all_errors() -> list[type[SentimentError]]:
    return [SentimentError, *(getattr(errors, line.split()[1]) for line in classes())]


def test_every_error_has_a_type_of_its_own() -> None:
    types = [error.error_type for error in all_errors()]
    assert len(set(types)) == len(types)


@pytest.mark.parametrize("error", all_errors())
def test_every_error_has_a_status_that_says_failure(error: type[SentimentError]) -> None:
    assert error.status in {400, 401, 403, 404, 405, 408, 413, 422, 429, 500, 503, 504}


def test_an_error_carries_its_sentence_and_when_to_retry() -> None:
    error = Overloaded("Too much is in flight.", retry_after=3)
    assert (error.message, str(error), error.retry_after) == (
        "Too much is in flight.",
        "Too much is in flight.",
        3,
    )
