"""Faults at random, one or two at a time, with a look at the log after each."""

import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from math import inf
from pathlib import Path
from uuid import UUID

from sentiment_k8s.records import EPOCH, time_in

from ..e2e.harness.waiting import wait_until
from ..postgres_fixtures import fetch
from .checks import Ledger, Row, unexplained
from .faults import FAULTS, Fault
from .load import Failed, Given
from .programs import left_in
from .report import MIB, Report
from .scene import WAIT_SECONDS, Scene, scene

RECOVERY_SECONDS = 90.0
LEAST_SECONDS = 0.5  # that a fault lasts
MOST_MEBIBYTES = 512  # of the server's memory: the limit in the book
PAIRS = 1 / 3  # so many faults come with a second one
ANSWERS_BETWEEN = 50
REPLAYS = 5  # answers that are asked for once more after each round
ROWS = "SELECT id, text, prediction FROM predictions WHERE created_at >= $1"


Follow = Callable[[str, Report], None]


def campaign(
    rounds: int,
    seed: int,
    *,
    most_seconds: float = 5.0,
    spool: str = "on",
    follow: Follow = lambda _, __: None,
) -> Report:
    """Do faults, singly and in pairs, heal each, and look at the log after it.

    Args:
        rounds: how often, each with a fault or two.
        seed: of everything that is left to chance but the machine's own timing.
        most_seconds: that a fault lasts.
        spool: the server's setting, `on` or `strict`.
        follow: is called after each round with what was done and with the report so far.

    Returns:
        What became of it; `violations` is empty if all held.
    """
    report = Report(seed)
    with tempfile.TemporaryDirectory(prefix="sentiment-faults-") as name:
        folder = Path(name)
        with scene(folder, random.Random(seed), spool=spool) as parts:
            Campaign(parts, report, most_seconds, spool).run(rounds, follow)
        with report.expecting("after the end"):
            assert not left_in(folder), f"still running: {left_in(folder)}"
    return report


def dealt(choice: random.Random, faults: list[Fault]) -> Iterator[list[Fault]]:
    """All faults in random order, again and again, some of them with a second one."""
    while True:
        for first in choice.sample(faults, len(faults)):
            others = [fault for fault in faults if not fault.on & first.on]
            paired = others and choice.random() < PAIRS
            yield [first, choice.choice(others)] if paired else [first]


class Campaign:
    """Rounds of faults on a running scene.

    Args:
        scene: the parts.
        report: what becomes of it.
        most_seconds: that a fault lasts.
        spool: the server's setting.
    """

    def __init__(self, scene: Scene, report: Report, most_seconds: float, spool: str) -> None:
        self._scene, self._report, self._most_seconds = scene, report, most_seconds
        self._load = scene.load
        self._ledger = Ledger()
        self._answers_judged = self._failures_judged = 0
        # Without a spool PostgreSQL's absence is enough for a refusal.
        self._refusing = [] if spool == "on" else [(-inf, inf)]
        self._faults = [
            fault
            for fault in FAULTS
            if (scene.disks_are_small or not fault.small_disk)
            and (spool == "on" or "spool" not in fault.on)
        ]

    def run(self, rounds: int, follow: Follow) -> None:
        """Do so many rounds, then stop the server and look at the whole log."""
        self._began = time.monotonic()
        self._scene.background.run(self._load.start())
        dealing = dealt(self._scene.choice, self._faults)
        for number, faults in zip(range(rounds), dealing, strict=False):
            self._round(f"round {number}, {names(faults)}", faults)
            self._note_figures()
            follow(names(faults), self._report)
        self._scene.background.run(self._load.stop())
        self._end()
        self._note_figures()

    def _round(self, name: str, faults: list[Fault]) -> None:
        since = time.monotonic()
        self._do(faults)
        self._report.faults.update(fault.name for fault in faults)
        healed = time.monotonic()
        with self._report.expecting(name):
            given = self._answers_until_rest()
            self._report.recovery_seconds.append(time.monotonic() - healed)
            if any(fault.refuses for fault in faults):
                self._refusing.append((since, time.monotonic()))
            self._judge(given)
            self._scene.background.run(self._load.ask_again(self._some_keyed()))
            self._scene.server.look()
            enough = len(self._load.given) + ANSWERS_BETWEEN
            wait_until("answers", lambda: len(self._load.given) > enough, seconds=RECOVERY_SECONDS)

    def _do(self, faults: list[Fault]) -> None:
        done: list[Fault] = []
        try:
            for fault in faults:
                fault.do(self._scene)
                done.append(fault)
            # The load goes on meanwhile: this is how long the fault lasts.
            time.sleep(self._scene.choice.uniform(LEAST_SECONDS, self._most_seconds))
            if not any("server" in fault.on for fault in faults):
                with self._report.expecting(f"while {names(faults)}"):
                    assert self._scene.server.ready, "not ready without PostgreSQL"
        finally:
            for fault in reversed(done):
                fault.heal(self._scene)

    def _some_keyed(self) -> list[Given]:
        keyed = [given for given in self._ledger.firsts if given.request.key]
        return self._scene.choice.sample(keyed, min(REPLAYS, len(keyed)))

    def _answers_until_rest(self) -> list[Given]:
        """What was answered before now: all of it is in PostgreSQL once the spool has been seen
        empty afterwards."""
        given = self._load.given[self._answers_judged :]
        self._answers_judged += len(given)
        wait_until("an empty spool", lambda: self._scene.at_rest, seconds=RECOVERY_SECONDS)
        return given

    def _judge(self, given: list[Given]) -> None:
        ledger = self._ledger
        before = len(ledger.lost), len(ledger.twice), len(ledger.unlike)
        firsts = ledger.take(given)
        ledger.compare(firsts, self._rows(oldest(firsts)))
        failed = self._load.failed[self._failures_judged :]
        self._failures_judged += len(failed)
        for failure in failed:
            key = "with a key" if failure.request.key else "without a key"
            self._report.failures[f"{failure.what}, {key}"] += 1
        strange = unexplained(failed, self._scene.server.away, self._refusing)
        wrong = {
            "lost": len(ledger.lost) - before[0],
            "twice": len(ledger.twice) - before[1],
            "keys with two answers": len(ledger.unlike) - before[2],
            "failed for no reason": Counter(failure.what for failure in strange),
            "hung": [seconds for seconds in _waits(given, failed) if seconds > WAIT_SECONDS],
        }
        assert not any(wrong.values()), {what: found for what, found in wrong.items() if found}

    def _rows(self, since: datetime) -> list[Row]:
        found = self._scene.background.run(fetch(self._scene.postgres.address, ROWS, since))
        return [(str(row["id"]), row["text"], row["prediction"]) for row in found]

    def _end(self) -> None:
        self._scene.server.stop()
        with self._report.expecting("the end"):
            assert not self._scene.segments, f"left in the spool: {self._scene.segments}"
            self._ledger = Ledger()  # everything once more: what was there must still be
            self._judge(self._load.given)
            peak = self._scene.server.peak_bytes / MIB
            assert peak <= MOST_MEBIBYTES, f"the server took {peak:.0f} MiB of memory"

    def _note_figures(self) -> None:
        given, failed = list(self._load.given), list(self._load.failed)
        self._report.figures = {
            "faults": self._report.faults.total(),
            "requests answered": len(given),
            "texts answered": sum(len(one.ids) for one in given),
            "rows through the spool": self._scene.server.spooled,
            "requests failed": len(failed),
            "retries with a key": self._load.retries,
            "answers replayed": self._ledger.replays,
            "answers lost": len(self._ledger.lost),
            "rows twice": len(self._ledger.twice),
            "keys with two answers": len(self._ledger.unlike),
            "longest wait, s": round(max(_waits(given, failed)), 2),
            "longest recovery, s": round(max(self._report.recovery_seconds, default=0.0), 2),
            "memory peak, MiB": round(self._scene.server.peak_bytes / MIB),
            "seconds": round(time.monotonic() - self._began),
        }


def names(faults: list[Fault]) -> str:
    return " + ".join(fault.name for fault in faults)


def oldest(given: list[Given]) -> datetime:
    """The time of the oldest row that was answered: older than the answer where a key was sent
    again and again."""
    times = (time_in(UUID(row_id)) for one in given for row_id in one.ids)
    return min(times, default=EPOCH)


def _waits(given: list[Given], failed: list[Failed]) -> list[float]:
    return [one.seconds for one in given] + [one.seconds for one in failed]
