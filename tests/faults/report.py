"""What became of a campaign: figures to read and to keep, and what did not hold."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from bench.report import table

MIB = 1024 * 1024


@dataclass
class Report:
    """Figures of a campaign.

    Attributes:
        seed: that it was run with.
        faults: how often each was done.
        failures: of requests, by what they were told; with a key or without.
        violations: of what must hold, with where they were seen; empty if all is well.
        figures: everything else, by name.
    """

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    recovery_seconds: list[float] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def expecting(self, where: str) -> Iterator[None]:
        """Note what an assertion in the block says, and go on after it."""
        try:
            yield
        except (AssertionError, httpx.HTTPError) as error:
            self.violations.append(f"{where}: {type(error).__name__}: {error}")

    def as_dict(self) -> dict[str, object]:
        """Everything, ready for JSON."""
        return {
            "seed": self.seed,
            "faults": dict(self.faults),
            "failures": dict(self.failures),
            "figures": self.figures,
            "violations": self.violations,
        }

    def __str__(self) -> str:
        parts = [
            _counts("fault", self.faults),
            _counts("failure", self.failures),
            table([{"figure": name, "value": value} for name, value in self.figures.items()]),
            "\n".join(self.violations) or "Everything held.",
        ]
        return "\n\n".join(parts)


def _counts(what: str, counter: Counter[str]) -> str:
    rows = [{what: name, "times": times} for name, times in sorted(counter.items())]
    return table(rows or [{what: "none", "times": 0}])
