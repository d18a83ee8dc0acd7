"""6. PostgreSQL goes and comes back: no request fails, and every answered row is there, once."""

import time

import pytest

from .harness.figures import Figures
from .harness.load import Load, describe
from .harness.log import Log
from .harness.namespace import Namespace, restarts
from .harness.release import Release
from .harness.spool import wait_until_drained, waiting

CLEAR = (503, "database_unavailable")
BACK_SECONDS = 5.0


def test_a_deleted_postgresql_fails_nothing(
    release: Release, namespace: Namespace, log: Log, figures: Figures
) -> None:
    release.install()
    with Load(release.url) as load:
        load.more(200)
        namespace.kubectl("delete", "pod", log.pod())
        log.pod()
        ready = time.monotonic()
        wait_until_drained(namespace)
        drained = time.monotonic()
        load.more(200)
    load.assert_nothing_failed()
    assert not any(map(restarts, namespace.wait_for_pods(2)))
    figures(
        drained_seconds=round(drained - ready, 1),
        **load.figures(),
        **log.assert_keeps(load.answers),
    )


@pytest.mark.short
def test_pods_answer_while_postgresql_is_away_and_write_when_it_is_back(
    release: Release, namespace: Namespace, log: Log, figures: Figures
) -> None:
    release.install()
    with Load(release.url) as load:
        load.more(200)
        with log.away():
            load.more(500)
            assert len(namespace.endpoints("sentiment-service")) == 2
            size, rows = waiting(namespace, "bytes"), waiting(namespace)
        ready = time.monotonic()
        wait_until_drained(namespace)
        drained = time.monotonic()
        load.more(200)
    load.assert_nothing_failed()
    assert not any(map(restarts, namespace.wait_for_pods(2)))
    figures(
        rows_waited=rows,
        spool_bytes_a_row=round(size / rows),
        drained_seconds=round(drained - ready, 1),
        **load.figures(),
        **log.assert_keeps(load.answers),
    )


def test_strict_pods_say_clearly_that_nothing_is_kept(
    release: Release, namespace: Namespace, log: Log, figures: Figures
) -> None:
    release.install("--set", "spool.mode=strict")
    with Load(release.url) as load:
        load.more(200)
        with log.away():
            load.more(100)
            assert len(namespace.endpoints("sentiment-service")) == 2
            away = load.answers[-50:]
        ready = time.monotonic()
        load.last(2 * BACK_SECONDS)
    assert all(answer.failed for answer in away)
    unclear = [one for one in load.failed if (one.status, one.error_type) != CLEAR]
    assert not unclear, describe(unclear)
    later = load.since(ready + BACK_SECONDS)
    assert later
    assert not [answer for answer in later if answer.failed]
    assert not any(map(restarts, namespace.wait_for_pods(2)))
    figures(**load.figures(), **log.assert_keeps(load.answers))
