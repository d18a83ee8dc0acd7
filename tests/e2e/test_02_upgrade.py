"""2. `helm upgrade` under load: no request fails, no row is lost."""

import pytest

from .harness.figures import Figures
from .harness.load import Load
from .harness.log import Log
from .harness.namespace import Namespace, seconds_to_ready
from .harness.release import Release


@pytest.mark.short
def test_an_upgrade_under_load_fails_nothing(
    release: Release, namespace: Namespace, log: Log, figures: Figures
) -> None:
    release.install()
    old = release.pods()
    # Clients that keep their connection, and clients that open one for each request.
    with Load(release.url) as load, Load(release.url, connections=2, renew=1) as fresh:
        load.more(100)
        seconds = release.upgrade("--set-string", "podAnnotations.rolled=yes")
        release.wait_until_gone(old)
        load.more(100)
    for one in (load, fresh):
        one.assert_nothing_failed()
    kept = log.assert_keeps(load.answers + fresh.answers)
    one_pod = [seconds_to_ready(pod) for pod in namespace.wait_for_pods(2)]
    figures(
        upgrade_seconds=round(seconds, 1),
        one_pod_seconds=one_pod,
        fresh_requests=len(fresh.answers),
        **load.figures(),
        **kept,
    )
