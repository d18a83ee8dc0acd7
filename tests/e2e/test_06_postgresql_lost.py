"""6. PostgreSQL goes and comes back: clear 503s meanwhile, nothing that was answered is lost."""

import time

import pytest

from .harness.figures import Figures
from .harness.load import Answer, Load, describe
from .harness.log import Log
from .harness.namespace import Namespace, restarts
from .harness.release import Release

BACK_SECONDS = 5.0


def assert_clear(failures: list[Answer]) -> None:
    """All that failed was told so in our error shape."""
    unclear = [one for one in failures if (one.status, one.error_type) != CLEAR]
    assert not unclear, describe(unclear)


CLEAR = (503, "database_unavailable")


def test_a_deleted_postgresql_comes_back_with_every_row(
    release: Release, namespace: Namespace, log: Log, figures: Figures
) -> None:
    release.install()
    with Load(release.url) as load:
        load.more(200)
        namespace.kubectl("delete", "pod", log.pod())
        log.pod()
        ready = time.monotonic()
        load.last(2 * BACK_SECONDS)
    assert_service_is_back(load, ready)
    assert not any(map(restarts, namespace.wait_for_pods(2)))
    figures(**load.figures(), **log.assert_keeps(load.answers))


@pytest.mark.short
def test_pods_stay_ready_while_postgresql_is_away(
    release: Release, namespace: Namespace, log: Log, figures: Figures
) -> None:
    release.install()
    statefulset = namespace.owner(log.pod())
    with Load(release.url) as load:
        load.more(200)
        namespace.kubectl("scale", statefulset, "--replicas=0")
        namespace.kubectl("wait", "--for=delete", "pod", "--selector", log.labels)
        load.more(100)
        assert len(namespace.endpoints("sentiment-service")) == 2
        away = load.answers[-50:]
        namespace.kubectl("scale", statefulset, "--replicas=1")
        log.pod()
        ready = time.monotonic()
        load.last(2 * BACK_SECONDS)
    assert all(answer.failed for answer in away)
    assert_service_is_back(load, ready)
    assert not any(map(restarts, namespace.wait_for_pods(2)))
    figures(**load.figures(), **log.assert_keeps(load.answers))


def assert_service_is_back(load: Load, ready: float) -> None:
    assert_clear(load.failed)
    later = load.since(ready + BACK_SECONDS)
    assert later
    assert not [answer for answer in later if answer.failed]
