from typing import Any

from bench import tables

MEASURED = {
    "texts_a_second": 100.0,
    "p50": 1.0,
    "p95": 2.0,
    "p99": 3.0,
    "answers": 1000,
    "errors": 1,
    "other_labels": 4,
    "clear_flips": 2,
    "server_cpu": 2.5,
    "client_cpu_share": 0.1,
    "memory_mib": 150.0,
    "others_share": 0.01,
    "gap": 0.0,
}
ENDED = {"reason": "it has ended by itself"}
PEER = {
    "precision": "fp32",
    "settings": "defaults",
    "version": None,
    "reason": None,
    "start_seconds": [9.0, 0.8],
    "idle_share": 0.0,
    "alone": False,
    "strayed_threads": 0,
}


def at(rate: float) -> dict[str, Any]:
    return MEASURED | {"texts_a_second": rate}


def result(**changes: Any) -> dict[str, Any]:
    peers = {"ours": PEER | {"precision": "int8"}, "ours-fp32": PEER, "other": PEER, "gone": PEER}
    return {
        "described": "a machine",
        "stolen_share": 0.0,
        "cores": [[0], [1]],
        "rounds": 3,
        "seconds": 5.0,
        "quantisation_error": 0.3,
        "scenarios": {"64": "64 clients", "batch32": "batches of 32"},
        "peers": peers,
        "loads": {
            "64": {
                "ours": [at(400), at(600), at(440)],
                "ours-fp32": [at(150), at(150), at(150)],
                "other": [at(100), ENDED, at(110)],
            },
            "batch32": {"ours": [at(500)], "ours-fp32": [at(200)]},
        },
        **changes,
    }


def row(rows: list[dict[str, object]], **named: str) -> dict[str, object]:
    [found] = [one for one in rows if named.items() <= one.items()]
    return found


def test_a_cell_is_the_median_with_its_spread_or_a_dash() -> None:
    rows = tables.throughput(result())
    assert row(rows, server="ours")["64 clients"] == "440.0 (400.0 to 600.0)"
    assert row(rows, server="ours")["batches of 32"] == "500.0"
    assert row(rows, server="other")["batches of 32"] == "–"
    assert row(rows, server="gone")["64 clients"] == "–"


def test_a_ratio_is_of_the_rounds_that_both_have() -> None:
    rows = tables.ratios(result())
    equal = row(rows, ratio="ours-fp32 / other")
    assert equal["precisions"] == "fp32 / fp32"
    assert equal["64 clients"] == "1.43 (1.36 to 1.50)"
    assert row(rows, ratio="ours / other")["64 clients"] == "4.00 (4.00 to 4.00)"
    assert len(rows) == 2, "neither of us beside the other, nor what was not measured"


def test_costs_are_sums_over_all_loads_and_the_last_start() -> None:
    costs = row(tables.costs(result()), server="ours")
    assert costs["start to first answer s"] == "0.8"
    assert costs["most memory MiB"] == "150"
    assert costs["errors"] == 4
    assert costs["other label than fp32"] == "16 of 4000"
    assert costs["of these clear"] == 8


def test_what_is_not_known_is_a_dash() -> None:
    unknown = PEER | {"start_seconds": [], "idle_share": None}
    loads = {"64": {"other": [MEASURED | {"memory_mib": None, "server_cpu": None}]}}
    [costs] = tables.costs(result(peers={"other": unknown}, loads=loads))
    dashes = ["most memory MiB", "start to first answer s", "CPU ms a text, 64 clients"]
    assert [costs[name] for name in [*dashes, "CPU of a core, idle"]] == ["–"] * 4


def test_what_could_not_be_measured_is_said_with_its_reason() -> None:
    gone = PEER | {"reason": "it cannot be installed: no wheel for this Python"}
    text = tables.described(result(peers=result()["peers"] | {"gone": gone}))
    assert "- gone: not measured: it cannot be installed: no wheel for this Python" in text
    assert "  - 64 clients: not measured: it has ended by itself" in text


def test_nothing_measured_is_a_table_of_dashes_and_the_reasons() -> None:
    gone = PEER | {"reason": "it cannot be installed"}
    text = tables.described(result(peers={"gone": gone}, loads={}))
    assert "| gone | fp32 | – | – |" in text
    assert "- gone: not measured: it cannot be installed" in text


def test_what_disturbed_is_said() -> None:
    noisy = MEASURED | {"gap": 5.0, "others_share": 0.36, "client_cpu_share": 0.9}
    text = tables.described(result(loads={"64": {"ours": [noisy]}}))
    assert "The machine stood still during 1 loads: distrust" in text
    assert "took 36% of its cores' time" in text
    assert "used 90% of its core at most. It may have been the limit" in text
    alone = PEER | {"alone": True, "idle_share": 0.9, "strayed_threads": 3}
    text = tables.described(result(peers={"ours": alone}))
    assert "It uses 90% of a core when idle, so it ran by itself." in text
    assert "3 threads had left its cores" in text
