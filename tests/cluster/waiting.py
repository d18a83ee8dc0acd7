import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until_equal(wanted: T, look: Callable[[], T], seconds: float = 60) -> None:
    """Look until the wanted is seen; what was seen last is in the failure."""
    deadline = time.monotonic() + seconds
    while (seen := look()) != wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    assert seen == wanted
