"""A whole comparison, small: us with a tiny model, one that listens, one that cannot be had."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import tables
from bench.compare import main
from bench.plots import pictures

from ..serving import RunningServer

DEV = str(Path(__file__).parents[2] / "training" / "reference")
SHORT = ["--seconds", "0.4", "--warm-up", "0.1", "--starts", "1", "--client-cores", "0"]

Compare = Callable[..., dict[str, Any]]


@pytest.fixture
def compare(tiny_folder: Path, tmp_path: Path) -> Compare:
    """Runs `python -m bench.compare` on a tiny model and gives back what it has written."""
    same = [word for flag in ("--model", "--fp32", "--checkpoint") for word in (flag, tiny_folder)]

    def run(*flags: str) -> dict[str, Any]:
        path = tmp_path / "result.json"
        main([*map(str, same), "--sst2", DEV, "--json", str(path), *SHORT, *flags])
        result: dict[str, Any] = json.loads(path.read_text())
        return result

    return run


def test_servers_are_measured_side_by_side(
    compare: Compare,
    server: RunningServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TEI_ROUTER", "/nowhere/text-embeddings-router")
    found = compare(
        *("--peers", "ours", "tei", "--rounds", "2", "--scenarios", "64", "half", "same"),
        *("--peer", f"neighbour={server.url}", "--protocol", "tei"),
    )
    assert list(found["peers"]) == ["ours", "tei", "neighbour"]
    assert "TEI_ROUTER" in found["peers"]["tei"]["reason"]
    for scenario, loads in found["loads"].items():
        assert set(loads) == {"ours", "neighbour"}, scenario
        assert all(len(rounds) == 2 for rounds in loads.values())
    for one in found["loads"]["64"]["ours"]:
        assert one["texts_a_second"] > 0
        assert one["errors"] == one["other_labels"] == 0  # against its own model
        assert one["server_cpu"] > 0
        assert one["memory_mib"] > 30
    for half, full in zip(*(found["loads"][name]["ours"] for name in ("half", "64")), strict=True):
        assert half["texts_a_second"] < full["texts_a_second"]
    assert found["peers"]["ours"]["start_seconds"][0] > 0
    assert found["peers"]["neighbour"]["start_seconds"] == []  # somebody else's
    assert {one["memory_mib"] for one in found["loads"]["64"]["neighbour"]} == {None}

    text = capsys.readouterr().out
    assert "| ours | int8 |" in text
    assert "| tei | fp32 | – | – |" in text
    assert "- tei: not measured: $TEI_ROUTER is /nowhere/text-embeddings-router" in text
    assert "| ours / neighbour | int8 / fp32 |" in text
    assert "Traceback" not in text
    assert text.strip() == tables.described(found).strip()
    assert {name: list(panels) for name, panels in pictures(found).items()}["latency"] == [
        "64 clients: p99, ms (logarithmic)",
        "half load, open loop: p99, ms (logarithmic)",
        "200 texts/s for all, open loop: p99, ms (logarithmic)",
    ]


def test_what_makes_no_sense_is_refused_in_a_sentence(compare: Compare) -> None:
    with pytest.raises(SystemExit, match="There is no peer nobody: say some of ours, ours-fp32"):
        compare("--peers", "nobody")
    with pytest.raises(SystemExit, match="--scenarios half needs 64 too"):
        compare("--scenarios", "half")
    with pytest.raises(SystemExit, match="NAME=http://HOST:PORT"):
        compare("--peers", "--peer", "localhost:8000", "--scenarios", "1")
    with pytest.raises(SystemExit, match="'grpc' is no protocol"):
        compare("--peers", "--peer", "a=http://localhost:1", "--protocol", "grpc")
