"""What must hold whenever a fault has been healed."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .load import Failed, Given

Row = tuple[str, str, str]  # id, text and label
Periods = Sequence[tuple[float, float]]  # from and to, in seconds of `time.monotonic`

BUSY_OR_AWAY = ("429 ", "503 ", "504 ")


@dataclass
class Ledger:
    """Every answer that was given, against what the log holds.

    Attributes:
        firsts: answers, each key's first one only.
        lost: answered ids that are no row, or a row with another text or label.
        twice: ids and texts that are a row more than once; no two requests share a text.
        unlike: keys with two different answers.
        replays: answers to a key that had been answered before.
    """

    firsts: list[Given] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    twice: set[str] = field(default_factory=set)
    unlike: set[str] = field(default_factory=set)
    replays: int = 0
    _by_key: dict[str, Given] = field(default_factory=dict)

    def take(self, given: Iterable[Given]) -> list[Given]:
        """Those that are not the answer to a key again; such a one must be what the first was."""
        firsts = []
        for one in given:
            key = one.request.key
            first = self._by_key.setdefault(key, one) if key else one
            if first is one:
                firsts.append(one)
            else:
                self.replays += 1
                if (first.ids, first.labels) != (one.ids, one.labels):
                    self.unlike.add(str(key))
        self.firsts += firsts
        return firsts

    def compare(self, given: Iterable[Given], rows: Sequence[Row]) -> None:
        """Note what is missing and what is there twice.

        Args:
            given: answers.
            rows: all that can be theirs.
        """
        kept = set(rows)
        for one in given:
            expected = zip(one.ids, one.request.texts, one.labels, strict=True)
            self.lost |= {row[0] for row in set(expected) - kept}
        for names in ((row[0] for row in rows), (row[1] for row in rows)):
            self.twice |= {name for name, number in Counter(names).items() if number > 1}


def unexplained(failed: Iterable[Failed], away: Periods, refusing: Periods) -> list[Failed]:
    """Failures that no fault has to cause.

    A broken connection is right where the server was killed or stopped; an error of ours there too,
    and when there was nowhere to write. A request with a key needs PostgreSQL, so it may be told
    at any time that it is away.

    Args:
        failed: by which error.
        away: when the server did not run.
        refusing: when there was nowhere to write.
    """

    def explained(failure: Failed) -> bool:
        if not failure.ours:
            return failure.broken and _overlaps(failure, away)
        return failure.what.startswith(BUSY_OR_AWAY) and (
            failure.request.key is not None
            or _overlaps(failure, away)
            or _overlaps(failure, refusing)
        )

    return [failure for failure in failed if not explained(failure)]


def _overlaps(failure: Failed, periods: Periods) -> bool:
    return any(since <= failure.until and failure.since <= until for since, until in periods)
