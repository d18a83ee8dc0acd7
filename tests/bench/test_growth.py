"""How cost grows: real servers with tiny models under small loads, and the parts by themselves."""

import json
import math
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.client import Answer, Load
from bench.growth import batch, limited
from bench.growth.__main__ import main
from bench.growth.loaded import sorted_answers
from bench.growth.replicas import dealt

QUICK = ["--server-cores", "0", "--client-cores", "0", "--seconds", "0.5", "--warm-up", "0.2"]

Growth = Callable[..., dict[str, Any]]


@pytest.fixture
def growth(tiny_folder: Path, tmp_path: Path) -> Growth:
    """Runs `python -m bench.growth` on a tiny model and gives back what it has written."""

    def run(what: str, *flags: str) -> dict[str, Any]:
        path = tmp_path / "result.json"
        main([what, "--model", str(tiny_folder), "--json", str(path), *QUICK, *flags])
        result: dict[str, Any] = json.loads(path.read_text())
        for panel in result["panels"]:
            for line in panel["lines"]:
                assert len(line["x"]) == len(line["y"])
        return result

    return run


def test_load_past_what_is_admitted_is_refused_and_nothing_else_happens(
    growth: Growth, capsys: pytest.CaptureFixture[str]
) -> None:
    admitted = ["--set", "SENTIMENT_MAX_TOKENS_IN_FLIGHT=512"]
    found = growth("load", "--shares", "0.2", "--settle", "0.2", "--seconds", "2", *admitted)
    [closed], [open_loop] = found["capacity"], found["loads"]["0.2"]
    assert closed["refused"] > 0  # 64 clients have more than 512 tokens
    assert closed["good"] > 0
    assert open_loop["good"] > 0
    assert closed["other"] == open_loop["other"] == 0
    assert open_loop["offered"] == pytest.approx(open_loop["good"] + open_loop["refused"])
    assert "goodput at 20% over the peak" in capsys.readouterr().out


def test_requests_of_many_texts_count_each_of_them(growth: Growth) -> None:
    found = growth("batch", "--sizes", "32")
    one = found["sizes"]["32"][batch.ONE][0]
    assert one["errors"] == 0
    assert one["answers"] % 32 == 0


def test_two_servers_share_the_clients(growth: Growth) -> None:
    found = growth("replicas")
    assert {count: each[0]["other"] for count, each in found["counts"].items()} == {"1": 0, "2": 0}
    assert min(each[0]["good"] for each in found["counts"].values()) > 0


def test_rows_that_were_there_before_stay(growth: Growth) -> None:
    found = growth("rows", "--rows", "1000", "--days", "3")
    assert found["rows"]["full"] > 1000
    loads = [load[0] for both in found["loads"].values() for load in both.values()]
    assert sum(load["errors"] for load in loads) == 0


def test_answers_are_sorted_by_status() -> None:
    answers = [(0.010, 200), (0.020, 200), (0.030, 200), (0.001, 429), (9.0, 0)]
    load = Load(
        seconds=2.0,
        client_cpu_share=0.25,
        answers=[Answer(0, seconds, status, b"") for seconds, status in answers],
        readings=[[1.0, 5.0, 100.0], [2.0, 5.5, 103.0]],
    )
    found = sorted_answers(load, memory_mib=100.0)
    assert (found.offered, found.good, found.refused, found.other) == (2.5, 1.5, 0.5, 0.5)
    assert (found.good_p50, found.good_p99) == (20, 30)
    assert found.refused_p99 == 1
    assert (found.server_cpu, found.postgres_cpu, found.others_cpu) == (0.5, 0.25, 0.5)


def test_a_latency_of_nothing_is_no_number() -> None:
    nothing = Load(1.0, 0.0, answers=[Answer(0, 0.1, 200, b"")], readings=[[0, 0, 0], [0, 0, 0]])
    assert math.isnan(sorted_answers(nothing, 0.0).refused_p50)


def test_a_busy_server_always_has_a_request_waiting() -> None:
    assert [batch.clients(size) for size in (1, 8, 32, 256)] == [64, 8, 2, 2]


def test_connections_are_dealt_by_turns() -> None:
    assert dealt(64, 2) == [32, 32]
    assert dealt(8, 3) == [3, 3, 2]


def test_throttling_is_read_from_both_kinds_of_control_groups(tmp_path: Path) -> None:
    file = tmp_path / "cpu.stat"
    file.write_text("nr_periods 40\nnr_throttled 10\nthrottled_time 2500000000\nnr_bursts 0\n")
    assert limited.read_throttling(file) == limited.Throttling(40, 10, 2.5)
    file.write_text("usage_usec 9\nnr_periods 40\nnr_throttled 10\nthrottled_usec 2500000\n")
    assert limited.read_throttling(file) == limited.Throttling(40, 10, 2.5)


needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access(limited.parent(), os.W_OK), reason="makes a control group"
)


@needs_root
def test_a_limit_throttles_and_our_threads_follow_it() -> None:
    with limited.ControlGroup(0.1, [0]) as group:
        spin = "import time; end = time.time() + 0.5\nwhile time.time() < end: pass"
        subprocess.run(group.inside("python3", "-c", spin), check=True)
        found = group.throttling()
        assert group.usable_threads() == 1
    assert found.throttled > 0
    assert found.seconds > 0.1


@needs_root
def test_throughput_under_a_limit_comes_with_its_throttling(growth: Growth) -> None:
    found = growth("cpu", "--cases", "0.2", "--no-container")
    case = found["cases"]["0.2"]
    assert case["threads"] == 1
    assert case["many"][0]["errors"] == 0
    assert case["throttled"][0]["share"] > 0.5
