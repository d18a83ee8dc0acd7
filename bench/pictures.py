"""Pictures of results, by matplotlib: `python -m bench.pictures RESULT.json PICTURE.svg`.

matplotlib is no part of the development environment: `draw` runs this module in an environment of
its own, made once, unless matplotlib can be imported here.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from .machine import cache

PACKAGES = ("matplotlib>=3.9",)
COLOURS = {"fp32": "#1d4ed8", "int8": "#c2410c"}
GREY = "#57606a"
GIGA = 1e9
BYTES = {"fp32": 4, "int8": 1}  # a weight
INTENSITIES = (1.0, 1024.0)
TICKS = [digit * 10**power for power in range(4) for digit in (1, 2, 5)]
# On white, so that a page in dark mode shows it as it is; text stays text, which is small.
STYLE = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#d8dee4",
    "grid.linewidth": 0.6,
    "font.family": "sans-serif",
    "font.size": 10,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "bench",
}


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Draw a result that says `what` it is.

    Args:
        path: ends with .svg or .png.
    """
    if importlib.util.find_spec("matplotlib"):
        _draw(result, path)
        return
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(result, file)
        file.flush()
        command = [str(environment()), "-m", "bench.pictures", file.name, str(path)]
        subprocess.run(command, check=True)


def environment() -> Path:
    """The Python of an environment with matplotlib, made when there is none."""
    folder = cache() / "plots"
    python = folder / "bin" / "python"
    if not list(folder.glob("lib/python3*/site-packages/matplotlib")):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python


def roofline(result: Mapping[str, Any], figure: Any) -> None:
    """The roofs over the work a byte, the engine's points, and beside them the servers."""
    peaks = {name: peak / GIGA for name, peak in _peaks(result).items()}
    several = bool(result["servers"])
    grid = figure.add_gridspec(1, 2 if several else 1, width_ratios=[3, 2] if several else [1])
    axes = figure.add_subplot(grid[0, 0])
    left, right = INTENSITIES
    axes.set(
        xscale="log",
        yscale="log",
        xlim=INTENSITIES,
        xlabel="multiply-adds a byte of weights, which a batch reads once",
        ylabel="G multiply-adds/s",
        title="What the cores allow, and the engine",
    )
    for precision, peak in peaks.items():
        axes.axhline(peak, color=COLOURS[precision])
        said = f"{precision} peak {peak:.0f}"
        _say(axes, said, (right, peak), (-4, 4), COLOURS[precision], ha="right")
    for name, bandwidth in _slopes(result).items():
        slope = bandwidth / GIGA
        end = min(right, max(peaks.values()) / slope)
        axes.plot([left, end], [left * slope, end * slope], color=GREY, linestyle="--")
        _say(axes, f"{name}, {slope:.0f} GB/s", (left, left * slope), (6, 0), GREY, va="top")
    for way in result["ways"]:
        rate = median(way["texts_a_second"]) * result["multiply_adds_a_text"] / GIGA
        work = result["multiply_adds_a_text"] / result["mean_tokens"] * way["tokens_a_batch"]
        intensity = work / (result["multiply_adds_a_token"] * BYTES[way["precision"]])
        colour = COLOURS[way["precision"]]
        axes.plot(intensity, rate, "o", color=colour, markersize=8)
        said = f"{way['precision']}, {way['batching']}: {rate:.0f}"
        _say(axes, said, (intensity, rate), (0, -8), colour, ha="center", va="top")
    _plain(axes.xaxis, (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024))
    bottom = min(_rates(result)) / 2
    axes.set_ylim(bottom, max(peaks.values()) * 1.6)
    _plain(axes.yaxis, [tick for tick in TICKS if bottom <= tick <= 2 * max(peaks.values())])
    if several:
        _servers(result, figure.add_subplot(grid[0, 1], sharey=axes), peaks)


def _servers(result: Mapping[str, Any], axes: Any, peaks: Mapping[str, float]) -> None:
    servers = sorted(result["servers"], key=lambda one: -float(one["texts_a_second"]))
    for precision, peak in peaks.items():
        axes.axhline(peak, color=COLOURS[precision])
    for place, one in enumerate(servers):
        rate = one["texts_a_second"] * result["multiply_adds_a_text"] / GIGA
        colour = COLOURS.get(one["precision"], GREY)
        axes.plot(place, rate, "D", color=colour, markersize=7)
        _say(axes, f"{rate:.0f}", (place, rate), (0, 7), colour, ha="center")
    axes.set_xticks(range(len(servers)), [one["name"] for one in servers], rotation=40, ha="right")
    axes.set(xlim=(-0.7, len(servers) - 0.3), title=f"Servers, {result['servers_under']}")
    axes.tick_params(labelleft=False)


def _rates(result: Mapping[str, Any]) -> list[float]:
    """In G multiply-adds a second, of all that has a point."""
    texts = [median(way["texts_a_second"]) for way in result["ways"]]
    texts += [one["texts_a_second"] for one in result["servers"]]
    return [each * result["multiply_adds_a_text"] / GIGA for each in texts]


def _say(
    axes: Any,
    text: str,
    at: tuple[float, float],
    aside: tuple[float, float],
    colour: str,
    **how: Any,
) -> None:
    axes.annotate(
        text, at, xytext=aside, textcoords="offset points", color=colour, fontsize=9, **how
    )


def _plain(axis: Any, ticks: Sequence[float]) -> None:
    """These numbers and no others, written as one says them."""
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)


def _peaks(result: Mapping[str, Any]) -> dict[str, float]:
    found: dict[str, dict[str, list[float]]] = {}
    for each in result["rounds"]:
        for one in each["peaks"]:
            rates = found.setdefault(one["precision"], {}).setdefault(one["by"], [])
            rates.append(one["multiply_adds_a_second"])
    return {name: max(map(median, libraries.values())) for name, libraries in found.items()}


def _slopes(result: Mapping[str, Any]) -> dict[str, float]:
    """Read bandwidths of the last cache and of memory."""
    found: dict[str, list[float]] = {}
    for each in result["rounds"]:
        for one in each["bandwidths"]:
            if one["where"].endswith("cache") or one["where"] == "memory":
                found.setdefault(one["where"], []).append(one["read"])
    last = max((name for name in found if name != "memory"), default="memory")
    return {name: median(found[name]) for name in dict.fromkeys((last, "memory"))}


def lines(result: Mapping[str, Any], figure: Any) -> None:
    """The panels of a result that has them: each some lines over the same x."""
    panels = result["panels"]
    for place, panel in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), place)
        for number, line in enumerate(panel["lines"]):
            axes.plot(
                line["x"], line["y"], line.get("style", "o-"), label=line["name"],
                color=_colour(number),
            )  # fmt: skip
        axes.set(xlabel=panel["x"], ylabel=panel["y"], title=panel.get("title", ""))
        if panel.get("log_x"):
            axes.set_xscale("log", base=2)
        if panel.get("log_y"):
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        if ticks := panel.get("ticks"):
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
        if len(panel["lines"]) > 1:
            axes.legend(fontsize=9)


def _colour(number: int) -> str:
    return ("#1d4ed8", "#c2410c", "#15803d", "#7e22ce", GREY)[number % 5]


DRAWINGS: dict[str, Callable[[Mapping[str, Any], Any], None]] = {"roofline": roofline}


def _draw(result: Mapping[str, Any], path: Path) -> None:
    import matplotlib  # type: ignore[import-not-found, unused-ignore]
    from matplotlib.figure import Figure  # type: ignore[import-not-found, unused-ignore]

    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=_size(result), layout="constrained")
        DRAWINGS.get(result["what"], lines)(result, figure)
        figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)


def _size(result: Mapping[str, Any]) -> tuple[float, float]:
    if result["what"] == "roofline":
        return (11, 5) if result["servers"] else (7.5, 5)
    return 4.8 * len(result["panels"]), 3.8


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw one, from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.pictures", description=__doc__)
    parser.add_argument("result", type=Path, help="JSON that a script here has left")
    parser.add_argument("picture", type=Path, help=".svg or .png")
    options = parser.parse_args(arguments)
    draw(json.loads(options.result.read_text()), options.picture)


if __name__ == "__main__":
    main()
