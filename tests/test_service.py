import asyncio

import pytest

from sentiment_k8s.service import keep


async def test_what_is_to_be_done_in_an_hour_is_not_done_every_second() -> None:
    again = asyncio.Event()

    async def work() -> float:
        if first.is_set():
            again.set()
        first.set()
        return 3600.0

    first, sooner = asyncio.Event(), asyncio.Event()
    keeper = asyncio.create_task(keep("a clock", work, 0.0, sooner))
    await first.wait()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(again.wait(), 1.5)
    sooner.set()
    await asyncio.wait_for(again.wait(), 60)
    keeper.cancel()
