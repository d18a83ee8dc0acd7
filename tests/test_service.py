import asyncio
import logging
from pathlib import Path

import pytest

from sentiment_k8s.metrics import Metrics
from sentiment_k8s.service import Service, keep
from sentiment_k8s.settings import load_settings
from sentiment_k8s.spool import Spool


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


async def test_a_server_waits_for_its_spool_while_another_one_drains_it(
    tmp_path: Path, unused_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sentiment_k8s.service")
    adopted = Spool(tmp_path, 1000, Metrics())
    settings = {"spool_dir": str(tmp_path), "spool_adopt": "true"}
    nowhere = f"postgresql://127.0.0.1:{unused_tcp_port}/ai_db"
    service = Service(load_settings(settings, {"DATABASE_URL": nowhere}))
    starting = asyncio.create_task(service.start())
    async with asyncio.timeout(60):
        while "Waiting until" not in caplog.text:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
        adopted.remove()
        await starting
    assert service.ready
    await service.close()
