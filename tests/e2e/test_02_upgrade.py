"""2. `helm upgrade` under load: no request fails, no row is lost."""

import pytest

from .harness.figures import Figures
from .harness.log import Log
from .harness.namespace import Namespace, seconds_to_ready
from .harness.release import Release
from .harness.traffic import Traffic


@pytest.mark.short
def test_an_upgrade_under_load_fails_nothing(
    release: Release, namespace: Namespace, log: Log, figures: Figures
) -> None:
    release.install()
    old = release.pods()
    with Traffic.at(release.url) as traffic:
        traffic.more(100)
        seconds = release.upgrade("--set-string", "podAnnotations.rolled=yes")
        release.wait_until_gone(old)
        traffic.more(100)
    one_pod = [seconds_to_ready(pod) for pod in namespace.wait_for_pods(2)]
    figures(
        upgrade_seconds=round(seconds, 1),
        one_pod_seconds=one_pod,
        **traffic.assert_unharmed(log),
    )
