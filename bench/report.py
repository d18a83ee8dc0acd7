"""Results as a Markdown table to read and as JSON to keep."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of equal columns as a Markdown table."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([_cell(row[name]) for name in head] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def save(path: Path | None, content: object) -> None:
    """Write JSON to `path`; nothing without one."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1) + "\n")


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median, with the least and the greatest."""
    return (
        f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
        if len(values) > 1
        else f"{values[0]:.{digits}f}"
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The least value that `percent` of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, -int(-percent * len(ordered) // 100) - 1))]


def _cell(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
