"""A bug of ours is answered in the one error shape and logged without what it was about."""

import logging
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from sentiment_k8s.app import create_app
from sentiment_k8s.logs import JsonFormatter
from sentiment_k8s.schemas import ErrorBody
from sentiment_k8s.service import Service
from sentiment_k8s.settings import Settings

from .serving import environment

ROOT = Path(__file__).parent.parent


class BrokenPipeline:
    """Fails in a way that nobody foresaw."""

    model = None

    async def classify(self, texts: list[str], **_: object) -> None:
        raise KeyError(texts[0])


class BrokenService(Service):
    """A service whose every part fails."""

    @property
    def pipeline(self) -> BrokenPipeline:  # type: ignore[override]
        return BrokenPipeline()


@pytest.mark.parametrize("path", ["/predict?text=a%20secret%20text", "/health"])
async def test_a_fault_of_the_server_is_a_500_that_tells_no_secret(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    service = BrokenService(Settings(record="off"))
    service.ready = True
    transport = httpx.ASGITransport(create_app(service), raise_app_exceptions=False)
    with caplog.at_level(logging.INFO):
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.get(path)
    assert answer.status_code == 500
    assert ErrorBody.model_validate_json(answer.content).error_type == "internal"
    assert answer.headers["X-Request-ID"] in {
        getattr(record, "request_id", None) for record in caplog.records
    }
    ours = [record for record in caplog.records if record.name.startswith("sentiment_k8s")]
    said = "".join(JsonFormatter().format(record) for record in ours)
    assert "Error" in said
    assert "secret" not in said + answer.text


async def test_a_server_that_has_not_started_says_so() -> None:
    transport = httpx.ASGITransport(create_app(Service(Settings(record="off"))))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.get("/predict?text=a")).status_code == 503
        assert (await client.get("/health/ready")).status_code == 503
        assert (await client.get("/health")).json()["ready"] is False


def test_uvicorn_app_works_as_the_book_prints_it_and_logs_no_text(data_dir: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment({"SENTIMENT_DATA_DIR": str(data_dir)}),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    said = []
    for line in process.stderr:
        said.append(line)
        if "running on" in line:
            break
    answer = httpx.get(f"http://127.0.0.1:{port}/predict", params={"text": "private words"})
    process.terminate()
    rest = process.communicate(timeout=30)
    assert answer.is_success, "".join(said)
    assert "private" not in "".join([*said, *rest])
