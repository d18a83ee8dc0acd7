"""Wait for a thing, never for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

POLL_SECONDS = 0.2


def wait_until(what: str, look: Callable[[], Found], *, seconds: float) -> Found:
    """Look again and again until there is something to see.

    Args:
        what: is waited for, for the message when it does not come.
        look: answers something true once it is there.
        seconds: until the deadline.

    Returns:
        What `look` answered.
    """
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s; last seen: {found}"
        time.sleep(POLL_SECONDS)
    return found
