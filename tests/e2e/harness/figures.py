"""What a scenario measured: a line to read, and a line of JSON to quote."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

from .programs import ROOT

FILE = ROOT / "build/e2e/figures.jsonl"


class Figures:
    """Figures of one scenario.

    Args:
        scenario: its name.
        say: prints a line, past pytest's capture.
    """

    def __init__(self, scenario: str, say: Callable[[str], None]) -> None:
        self._scenario = scenario
        self._say = say

    def __call__(self, **figures: object) -> None:
        self._say(f"{self._scenario}: " + ", ".join(f"{k} {v}" for k, v in figures.items()))
        FILE.parent.mkdir(parents=True, exist_ok=True)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with FILE.open("a") as file:
            file.write(json.dumps({"scenario": self._scenario, "at": now, **figures}) + "\n")
