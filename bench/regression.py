"""The ratios of a short run beside the committed ones: `python -m bench.regression`.

For CI, in two minutes: ratios of one run, since seconds differ from machine to machine. What is
worse than committed by more than the noise is warned of; nothing fails, since a busy neighbour is
no fault of a change. `--save` commits what was measured (`expected.json`, by the CPU's flags).
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from . import machine, report, service, stage

COMMITTED = Path(__file__).with_name("expected.json")


@dataclass(frozen=True, slots=True)
class Ratio:
    """A figure that is compared: what it is, whether more is better, and what noise does to it."""

    what: str
    more_is_better: bool
    noise: float


RATIOS = {
    "engine": Ratio("engine, int8, budget 512, over what sgemm allows in fp32", True, 0.15),
    "alone": Ratio("engine, int8, texts one by one over budget 512", True, 0.15),
    "service": Ratio("service over engine, 64 clients, every answer a committed row", True, 0.1),
    "log": Ratio("log on over off, 64 clients", True, 0.1),
    "p50": Ratio("one client's p50 over the engine's time for one text", False, 0.2),
    "memory": Ratio("peak RSS of the server in MiB", False, 0.05),
}


def main() -> None:
    """Measure, compare and print."""
    options = _options()
    with stage.staged(options) as here:
        served = service.measure(here, options)
    alone = stage.engine(options.model, options.server_cores, "--rounds", str(options.rounds))
    found = ratios(served, alone)
    committed = json.loads(COMMITTED.read_text()) if COMMITTED.exists() else {}
    kind = cpu()
    print(served["described"])
    print(report.table(compared(found, committed.get(kind, {}))))
    for warning in warnings(found, committed.get(kind, {})):
        print(f"warning: {warning}")
    if kind not in committed:
        print(f"Nothing is committed for a CPU with {kind}: --save does.")
    if options.save:
        report.save(COMMITTED, committed | {kind: found})


def ratios(served: Mapping[str, Any], engine: Mapping[str, Any]) -> dict[str, float]:
    """What is compared, from the results of `bench.service` and `bench.engine`."""
    ways = {way["batching"]: way for way in engine["ways"]}
    alone, full = ways["batch 1"], ways["budget 512"]
    rate = median(alone["texts_a_second"])
    return {
        "engine": median(full["share"]),
        "alone": rate / median(full["texts_a_second"]),
        "service": median(served["share_of_engine"]),
        "log": median(served["log_on_over_off"]),
        "p50": median(one["p50"] for one in served["closed"][1]) * rate / 1e3,
        "memory": served["peak_rss_mib"],
    }


def compared(found: Mapping[str, float], committed: Mapping[str, float]) -> list[dict[str, object]]:
    """Rows of the table."""
    return [
        {
            "figure": ratio.what,
            "better is": "more" if ratio.more_is_better else "less",
            "now": f"{found[name]:.2f}",
            "committed": f"{committed[name]:.2f}" if name in committed else "",
        }
        for name, ratio in RATIOS.items()
    ]


def warnings(found: Mapping[str, float], committed: Mapping[str, float]) -> list[str]:
    """A sentence for each figure that is worse than committed by more than its noise."""
    said = []
    for name, ratio in RATIOS.items():
        if name not in committed:
            continue
        change = found[name] / committed[name] - 1
        if (-change if ratio.more_is_better else change) > ratio.noise:
            said.append(
                f"{ratio.what}: {found[name]:.2f}, committed {committed[name]:.2f} ({change:+.0%})."
            )
    return said


def cpu() -> str:
    """The flags by which the kernels of int8 products are chosen."""
    flags = machine.facts()["flags"]
    assert isinstance(flags, list)
    chosen = [flag for flag in ("amx_int8", "avx512_vnni", "avx_vnni", "i8mm") if flag in flags]
    return chosen[0] if chosen else "no int8 products"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.regression", description=__doc__)
    stage.add_options(parser)
    parser.set_defaults(connections=[1, 64], rounds=2, seconds=4.0)
    parser.add_argument("--save", action="store_true", help="commit what is measured")
    return parser.parse_args()


if __name__ == "__main__":
    main()
