from bench.regression import RATIOS, compared, ratios, warnings

FOUND = dict.fromkeys(RATIOS, 1.0)


def test_what_is_as_committed_is_not_warned_of() -> None:
    assert warnings(FOUND, FOUND) == []


def test_noise_is_not_warned_of_and_more_than_noise_is() -> None:
    for name, ratio in RATIOS.items():
        worse = -1 if ratio.more_is_better else 1
        within = FOUND | {name: 1 + worse * 0.9 * ratio.noise}
        beyond = FOUND | {name: 1 + worse * 1.1 * ratio.noise}
        assert warnings(within, FOUND) == []
        [warning] = warnings(beyond, FOUND)
        assert warning.startswith(ratio.what)


def test_what_is_better_is_not_warned_of() -> None:
    better = {name: 2.0 if ratio.more_is_better else 0.5 for name, ratio in RATIOS.items()}
    assert warnings(better, FOUND) == []


def test_a_machine_of_which_nothing_is_committed_is_not_compared() -> None:
    assert warnings(FOUND, {}) == []
    assert [row["committed"] for row in compared(FOUND, {})] == [""] * len(RATIOS)


def test_ratios_are_of_one_run() -> None:
    served = {
        "share_of_engine": [0.8, 0.9, 0.7],
        "log_on_over_off": [0.98, 0.99, 1.0],
        "closed": {1: [{"p50": 4.0}, {"p50": 6.0}, {"p50": 5.0}]},
        "peak_rss_mib": 180.0,
    }
    engine = {
        "ways": [
            {"batching": "batch 1", "texts_a_second": [400.0], "share": [1.0]},
            {"batching": "budget 512", "texts_a_second": [500.0], "share": [1.9]},
        ]
    }
    expected = {"engine": 1.9, "alone": 0.8, "service": 0.8, "log": 0.99, "p50": 2.0}
    assert ratios(served, engine) == expected | {"memory": 180.0}
