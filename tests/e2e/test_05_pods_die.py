"""5. Pods deleted, evicted, killed: only what was in flight on a killed pod may fail."""

import time

from .harness.figures import Figures
from .harness.kill import sigkill
from .harness.load import Load, describe
from .harness.log import Log
from .harness.namespace import Namespace, name_of, restarts
from .harness.release import Release
from .harness.traffic import Traffic
from .harness.waiting import wait_until

ENDED_SECONDS = 0.5  # until the kernel has closed a killed process's connections
NOTICED_SECONDS = 5.0  # until the kubelet has seen the end of a container and endpoints say so


def test_deleted_pods_fail_nothing(
    release: Release, namespace: Namespace, log: Log, figures: Figures
) -> None:
    release.install()
    with Traffic.at(release.url) as traffic:
        for pod in namespace.pods():
            namespace.kubectl("delete", "pod", name_of(pod))
            namespace.wait_for_pods(2)
        traffic.more(100)
    figures(**traffic.assert_unharmed(log))


def test_a_drain_fails_nothing(
    release: Release, namespace: Namespace, log: Log, figures: Figures
) -> None:
    release.install()
    old = release.pods()
    with Traffic.at(release.url) as traffic:
        for pod in namespace.pods():
            namespace.evict(pod)
        release.wait_until_gone(old)
        namespace.wait_for_pods(2)
        traffic.more(100)
    figures(**traffic.assert_unharmed(log))


def test_a_killed_server_fails_only_what_it_was_answering(
    release: Release, namespace: Namespace, log: Log, figures: Figures
) -> None:
    release.install()
    victim = namespace.pods()[0]
    with Load(release.url) as load:
        load.more(100)
        sigkill(victim)
        killed = time.monotonic()
        wait_until(
            "a restart",
            lambda: restarts(namespace.get("pod", name_of(victim))) == 1,
            seconds=60,
        )
        namespace.wait_for_pods(2)
        back = time.monotonic()
        load.more(100)
    assert len(load.failed) <= load.connections, describe(load.failed)
    late = [answer for answer in load.failed if answer.at > killed + ENDED_SECONDS]
    assert not late, describe(late)
    assert all(at < killed + NOTICED_SECONDS for at in load.unconnected)
    figures(
        back_seconds=round(back - killed, 1), **load.figures(), **log.assert_keeps(load.answers)
    )
