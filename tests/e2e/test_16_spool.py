"""16. A pod's end while PostgreSQL is away: its answered rows are written when that is back."""

import time

from .harness.figures import Figures
from .harness.kill import sigkill
from .harness.load import Load, describe
from .harness.log import Log
from .harness.namespace import Namespace, name_of, restarts
from .harness.release import Release
from .harness.spool import spool_of, wait_until_drained, wait_until_rows_wait
from .harness.traffic import Traffic
from .harness.waiting import wait_until

FOLDER = "/var/spool/sentiment"


def test_a_killed_server_finds_its_rows_again(
    release: Release, namespace: Namespace, log: Log, figures: Figures
) -> None:
    release.install()
    victim = namespace.pods()[0]
    with Load(release.url) as load:
        load.more(100)
        with log.away():
            wait_until_rows_wait(victim)
            load.more(200)
            waited = spool_of(victim)["rows"]
            shown = namespace.kubectl("exec", name_of(victim), "--", "sentiment", "spool", "show")
            assert int(shown.split()[1]) >= waited, shown
            sigkill(victim)
            wait_until(
                "a restart",
                lambda: restarts(namespace.get("pod", name_of(victim))) == 1,
                seconds=60,
            )
            namespace.wait_for_pods(2)
            assert spool_of(victim)["rows"] >= waited
            load.more(100)
        ready = time.monotonic()
        wait_until_drained(namespace)
        drained = time.monotonic()
    assert len(load.failed) <= load.connections, describe(load.failed)
    figures(
        rows_waited=waited,
        drained_seconds=round(drained - ready, 1),
        **load.figures(),
        **log.assert_keeps(load.answers),
    )


def test_a_deleted_pod_writes_its_rows_when_postgresql_is_back_within_its_grace_period(
    release: Release, namespace: Namespace, log: Log, figures: Figures
) -> None:
    release.install("--set", "replicas=1")
    [pod] = namespace.pods()
    with log.away():
        with Load(release.url) as load:
            load.more(300)
        waited = spool_of(pod)["rows"]
        namespace.kubectl("delete", "pod", name_of(pod), "--wait=false")
    release.wait_until_gone([name_of(pod)])
    load.assert_nothing_failed()
    figures(rows_waited=waited, **load.figures(), **log.assert_keeps(load.answers))


def test_a_later_pod_writes_what_a_deleted_one_left_in_the_shared_claim(
    release: Release, namespace: Namespace, log: Log, figures: Figures
) -> None:
    release.install("--set", "spool.mode=claim", "--set", "replicas=1")
    [first] = namespace.pods()
    with log.away():
        with Load(release.url) as load:
            load.more(300)
        waited = spool_of(first)["rows"]
        deleted = time.monotonic()
        namespace.kubectl("delete", "pod", name_of(first))
        gone = time.monotonic()
    [second] = namespace.wait_for_pods(1)
    wait_until_folders_are_of(namespace, [name_of(second)])
    load.assert_nothing_failed()
    figures(
        rows_waited=waited,
        deleted_seconds=round(gone - deleted, 1),
        **load.figures(),
        **log.assert_keeps(load.answers),
    )


def test_a_neighbour_writes_what_a_deleted_pod_left_in_the_shared_claim_under_load(
    release: Release, namespace: Namespace, log: Log, figures: Figures
) -> None:
    release.install("--set", "spool.mode=claim")
    victim, neighbour = namespace.pods()
    with Traffic.at(release.url) as traffic:
        traffic.more(100)
        with log.away():
            wait_until_rows_wait(victim)
            namespace.kubectl("delete", "pod", name_of(victim))
            traffic.more(100)
        wait_until_folders_are_of(namespace, [name_of(pod) for pod in namespace.wait_for_pods(2)])
        wait_until_drained(namespace)
    assert name_of(neighbour) in release.pods()
    figures(**traffic.assert_unharmed(log))


def wait_until_folders_are_of(namespace: Namespace, pods: list[str]) -> None:
    """Until nothing is left in the claim but the spools of these pods."""
    folders = ["exec", pods[0], "--", "ls", FOLDER]
    wait_until(
        "their own folders alone",
        lambda: sorted(namespace.kubectl(*folders).split()) == sorted(pods),
        seconds=120,
    )
