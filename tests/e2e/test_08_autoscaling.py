"""8. The HPA goes up under load and down after it, and no request notices."""

import time

import pytest

from .harness.figures import Figures
from .harness.load import Load
from .harness.log import Log
from .harness.namespace import Namespace
from .harness.release import Release
from .harness.waiting import wait_until

HPA = "sentiment-hpa"


def wanted(namespace: Namespace) -> int:
    """Replicas that the HPA wants; 0 as long as it knows no metrics."""
    status = namespace.get("hpa", HPA).get("status", {})
    return int(status.get("desiredReplicas") or 0) if status.get("currentMetrics") else 0


@pytest.mark.short
def test_replicas_follow_the_load(
    release: Release, namespace: Namespace, log: Log, figures: Figures
) -> None:
    # Small, for two cores; 30 s instead of minutes until it goes down.
    few = "autoscaling.enabled=true,autoscaling.maxReplicas=4"
    soon = "autoscaling.behavior.scaleDown.stabilizationWindowSeconds=30"
    release.install("--set", few, "--set", soon)
    wait_until("the HPA's first metrics", lambda: wanted(namespace) == 2, seconds=120)

    started = time.monotonic()
    with Load(release.url, connections=16, renew=50) as load:
        wait_until("more replicas wanted", lambda: wanted(namespace) > 2, seconds=120)
        decided = time.monotonic()
        namespace.wait_for_pods(4)
        up = time.monotonic()
        load.more(200)
    namespace.wait_for_pods(2, seconds=300)
    down = time.monotonic()

    load.assert_nothing_failed()
    figures(
        decided_seconds=round(decided - started, 1),
        four_ready_seconds=round(up - started, 1),
        down_after_seconds=round(down - started - load.seconds, 1),
        **load.figures(),
        **log.assert_keeps(load.answers),
    )
