"""Pictures of a comparison, by matplotlib: `python -m bench.plots RESULT.json FOLDER`.

Runs itself in the environment that pictures.py makes when matplotlib cannot be imported here.
"""

import argparse
import importlib.util
import json
import math
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from .pictures import COLOURS, GREY, STYLE, environment
from .scenarios import HALF, OPEN, SAME
from .tables import good

Result = Mapping[str, Any]
Bar = tuple[str, str, float, float, float]  # server, precision, value, least, greatest

BAR_INCHES, HEAD_INCHES, PANEL_INCHES = 0.26, 0.9, 3.6
COLUMNS = 3
LOGARITHMIC = " ms (logarithmic)"


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw all pictures of a result."""
    parser = argparse.ArgumentParser(prog="python -m bench.plots", description=__doc__)
    parser.add_argument("result", type=Path, help="JSON of bench.compare")
    parser.add_argument("folder", type=Path, help="for compare-*.svg")
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("matplotlib") is None:
        command = [str(environment()), "-m", "bench.plots", options.result, options.folder]
        subprocess.run(command, check=True)
        return
    result = json.loads(options.result.read_text())
    for name, panels in pictures(result).items():
        draw(panels, options.folder / f"compare-{name}.svg")


def pictures(result: Result) -> dict[str, dict[str, list[Bar]]]:
    """By picture and panel, the bars, in the order of the peers."""
    scenarios = result["scenarios"]
    costs: dict[str, Callable[[str], Sequence[float | None]]] = {
        "most memory, MiB": lambda name: _most_memory(result, name),
        "start to first answer, s": lambda name: result["peers"][name]["start_seconds"][-1:],
    }
    return {
        "throughput": {
            f"{what}: texts/s": _bars(result, _field(result, scenario, "texts_a_second"))
            for scenario, what in scenarios.items()
            if scenario not in OPEN
        },
        "latency": {
            f"{scenarios[scenario]}: {field},{LOGARITHMIC}": _bars(
                result, _field(result, scenario, field)
            )
            for scenario, field in (("1", "p50"), ("64", "p99"), (HALF, "p99"), (SAME, "p99"))
            if scenario in scenarios
        },
        "costs": {what: _bars(result, values) for what, values in costs.items()},
    }


def draw(panels: Mapping[str, Sequence[Bar]], path: Path) -> None:
    """Horizontal bars, a panel each, with the median written beside its bar and a line from the
    least to the greatest."""
    import matplotlib  # type: ignore[import-not-found, unused-ignore]
    from matplotlib.figure import Figure  # type: ignore[import-not-found, unused-ignore]

    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    most = max(map(len, panels.values()))
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE | {"axes.grid.axis": "x"}):
        size = (PANEL_INCHES * columns, rows * (HEAD_INCHES + BAR_INCHES * most))
        figure = Figure(figsize=size, layout="constrained")
        for place, (title, bars) in enumerate(panels.items(), 1):
            _panel(figure.add_subplot(rows, columns, place), title, bars)
        for place, (precision, colour) in enumerate(COLOURS.items()):
            figure.text(0.005 + 0.5 * place / columns, 1, precision, color=colour, va="bottom")
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, metadata=metadata, bbox_inches="tight")


def _panel(axes: Any, title: str, bars: Sequence[Bar]) -> None:
    for place, (_, precision, value, least, greatest) in enumerate(bars):
        colour = COLOURS.get(precision, GREY)
        axes.barh(place, value, color=colour, height=0.7)
        axes.plot([least, greatest], [place, place], color=GREY, linewidth=1.2)
        axes.annotate(
            f"{value:.0f}" if value >= 10 else f"{value:.1f}",
            (max(value, greatest), place),
            textcoords="offset points",
            xytext=(4, 0),
            va="center",
            fontsize=8,
            color=GREY,
        )
    axes.set_yticks(range(len(bars)), [name for name, *_ in bars], fontsize=8)
    axes.invert_yaxis()
    axes.set_axisbelow(True)
    axes.margins(x=0.15)
    if title.endswith(LOGARITHMIC):
        axes.set_xscale("log")
        axes.set_xlim(left=10 ** math.floor(math.log10(min(bar[3] for bar in bars))))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
    else:
        axes.set_xlim(left=0)
    axes.set_title(title, fontsize=9)


def _most_memory(result: Result, name: str) -> list[float]:
    loads = [one for scenario in result["scenarios"] for one in good(result, scenario, name)]
    return sorted(one["memory_mib"] for one in loads if one["memory_mib"] is not None)[-1:]


def _field(result: Result, scenario: str, field: str) -> Callable[[str], list[float]]:
    return lambda name: [one[field] for one in good(result, scenario, name)]


def _bars(result: Result, values: Callable[[str], Sequence[float | None]]) -> list[Bar]:
    """A bar for each server of which this is known."""
    bars = []
    for name, peer in result["peers"].items():
        if found := [value for value in values(name) if value is not None]:
            bars.append((name, peer["precision"], median(found), min(found), max(found)))
    return bars


if __name__ == "__main__":
    main()
