"""A server in a process of its own, its limits and its end."""

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from sentiment_k8s.metrics import Metrics
from sentiment_k8s.schemas import ErrorBody
from sentiment_k8s.spool import Spool

from .serving import RunningServer, answer_of, environment, running_server

LONG = "good " * 600  # 512 tokens


def test_sigterm_lets_the_request_in_flight_end_and_exits_with_0(data_dir: Path) -> None:
    with running_server(data_dir) as server, ThreadPoolExecutor(1) as pool:
        texts = {"texts": [LONG] * 40}
        answer = pool.submit(httpx.post, f"{server.url}/predict", json=texts, timeout=30)
        wait_until_tokens_in_flight(server)
        assert server.stop() == 0
        assert answer.result().status_code == 200
        assert len(answer.result().json()["predictions"]) == 40


def test_before_it_stops_the_server_is_unready_but_still_serves(data_dir: Path) -> None:
    with running_server(data_dir, SENTIMENT_SHUTDOWN_DELAY_SECONDS="1") as server:
        server.process.send_signal(signal.SIGTERM)
        while httpx.get(f"{server.url}/health/ready").status_code == 200:
            pass
        assert httpx.get(f"{server.url}/predict", params={"text": "still here"}).is_success
        assert server.process.wait(20) == 0


def test_clients_of_a_stopping_server_are_asked_to_connect_elsewhere(data_dir: Path) -> None:
    with (
        running_server(data_dir, SENTIMENT_SHUTDOWN_DELAY_SECONDS="2") as server,
        httpx.Client(base_url=server.url, params={"text": "fine"}) as client,
    ):
        assert "connection" not in client.get("/predict").headers
        server.process.send_signal(signal.SIGTERM)
        while httpx.get(f"{server.url}/health/ready").status_code == 200:
            pass
        assert client.get("/predict").headers["connection"] == "close"


def test_what_was_answered_is_there_after_a_sigkill(data_dir: Path) -> None:
    with running_server(data_dir) as server:
        answer = httpx.get(f"{server.url}/predict", params={"text": "keep me"}).json()
        assert server.stop(by=signal.SIGKILL) == -signal.SIGKILL
    with running_server(data_dir) as server:
        row = httpx.get(f"{server.url}/predictions/{answer['id']}").json()
        assert row["text"] == "keep me"


def test_a_request_that_the_shutdown_cuts_is_503_in_the_one_error_shape(data_dir: Path) -> None:
    with running_server(data_dir, SENTIMENT_SHUTDOWN_TIMEOUT_SECONDS="1") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(
                b"POST /predict HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                b"Content-Length: 9\r\nX-Request-ID: cut\r\n\r\n"
            )
            assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")  # it waits for the body
            assert server.stop() == 0
            answer = answer_of(connection)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"x-request-id: cut\r\n" in answer
        assert b'"not_ready"' in answer
    assert not any("traceback" in line for line in server.log)
    assert "POST /predict 503" in [line["message"] for line in server.log]


def test_sigterm_during_the_start_ends_it_at_once_and_in_order(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent_hub:
        silent_hub.settimeout(40)
        command = [sys.executable, "-m", "sentiment_k8s", "serve", "--port", "0"]
        process = subprocess.Popen(
            [*command, "--data-dir", str(data_dir), "--model", "someone/some-model"],
            env=environment({"HF_ENDPOINT": f"http://127.0.0.1:{silent_hub.getsockname()[1]}"}),
            stderr=subprocess.PIPE,
            text=True,
        )
        connection, _ = silent_hub.accept()  # PostgreSQL is up by now, the model on its way
        with connection:
            process.terminate()
            _, said = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Stopped before it was ready." in said
    assert not (data_dir / "postgresql" / "postmaster.pid").exists()


def sentence_of_a_start_that_fails(data_dir: Path, *flags: str) -> str:
    command = [sys.executable, "-m", "sentiment_k8s", "serve", "--data-dir", str(data_dir), *flags]
    done = subprocess.run(command, env=environment({}), capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    [sentence] = done.stderr.splitlines()
    return sentence


@pytest.mark.parametrize("flag", ["--port", "--metrics-port"])
def test_a_port_in_use_is_one_sentence(server: RunningServer, data_dir: Path, flag: str) -> None:
    flags = ["--port", "0", flag, str(server.port)]
    sentence = sentence_of_a_start_that_fails(data_dir, *flags)
    assert f"port {server.port}" in sentence
    assert flag in sentence


def test_a_spool_in_use_is_one_sentence(data_dir: Path, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 1000, Metrics())
    flags = ["--port", "0", "--spool-dir", str(spool.folder)]
    sentence = sentence_of_a_start_that_fails(data_dir, *flags)
    assert f"in use by another sentiment (process {os.getpid()})" in sentence
    assert "SENTIMENT_SPOOL_DIR" in sentence
    spool.close()


def test_one_port_for_both_the_api_and_the_metrics_is_one_sentence(data_dir: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    flags = ["--port", port, "--metrics-port", port]
    assert "--metrics-port" in sentence_of_a_start_that_fails(data_dir, *flags)


def test_a_shutdown_shorter_than_the_deadline_is_warned_of(data_dir: Path) -> None:
    with running_server(data_dir, SENTIMENT_SHUTDOWN_TIMEOUT_SECONDS="1") as server:
        [warning] = [line for line in server.log if line["level"] == "warning"]
    assert "SENTIMENT_DEADLINE_SECONDS" in str(warning["message"])


def test_beyond_its_limit_the_server_answers_429_with_retry_after(data_dir: Path) -> None:
    with running_server(data_dir, SENTIMENT_MAX_TOKENS_IN_FLIGHT="512") as server:
        body = {"texts": [LONG] * 8}
        with ThreadPoolExecutor(8) as pool:
            calls = [
                pool.submit(httpx.post, f"{server.url}/predict", json=body, timeout=30)
                for _ in range(8)
            ]
            answers = [call.result() for call in calls]
        statuses = {answer.status_code for answer in answers}
        assert statuses == {200, 429}
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert ErrorBody.model_validate_json(refused.content).error_type == "overloaded"
        assert int(refused.headers["Retry-After"]) >= 1


def test_an_answer_that_would_be_too_late_is_504(data_dir: Path) -> None:
    with running_server(data_dir, SENTIMENT_DEADLINE_SECONDS="0.01") as server:
        answer = httpx.post(f"{server.url}/predict", json={"texts": [LONG] * 20})
        assert answer.status_code == 504
        assert ErrorBody.model_validate_json(answer.content).error_type == "deadline_exceeded"


def test_a_client_that_hung_up_costs_no_more_work(data_dir: Path) -> None:
    with running_server(data_dir) as server:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/predict", json={"texts": [LONG] * 256}, timeout=0.6)
        wait_until_nothing_in_flight(server)
        assert metric(server, "sentiment_tokens_total") < 256 * 512


def test_log_lines_are_json_and_hold_no_text(data_dir: Path) -> None:
    with running_server(data_dir, SENTIMENT_ACCESS_LOG="all") as server:
        httpx.get(f"{server.url}/predict", params={"text": "very private"})
        httpx.get(f"{server.url}/predict", params={"text": " ", "private": "private"})
        server.stop()
    lines = [line for line in server.log if line["logger"] == "sentiment_k8s.access"]
    assert [line["message"] for line in lines] == ["GET /predict 200", "GET /predict 400"]
    assert all(line["request_id"] for line in lines)
    assert "private" not in str(server.log)


def test_with_recording_off_every_answer_says_so(data_dir: Path) -> None:
    with running_server(data_dir, "--record", "off") as server:
        answer = httpx.get(f"{server.url}/predict", params={"text": "not kept"})
        assert answer.headers["X-Sentiment-Recorded"] == "off"
        assert answer.json()["id"] is None
        assert httpx.get(f"{server.url}/health").json()["record"]["mode"] == "off"
        assert metric(server, "sentiment_recording") == 0
        assert httpx.get(f"{server.url}/predictions").status_code == 404


def test_metrics_can_have_a_port_of_their_own(data_dir: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with running_server(data_dir, "--metrics-port", str(port)) as server:
        assert httpx.get(f"{server.url}/metrics").status_code == 404
        assert "sentiment_ready 1.0" in httpx.get(f"http://127.0.0.1:{port}/metrics").text


def metric(server: RunningServer, name: str) -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name + " "))


def wait_until_tokens_in_flight(server: RunningServer) -> None:
    while not metric(server, "sentiment_tokens_in_flight"):
        pass


def wait_until_nothing_in_flight(server: RunningServer) -> None:
    while metric(server, "sentiment_tokens_in_flight"):
        time.sleep(0.01)
