"""3. `helm rollback` under load, to what ran before."""

from .harness.figures import Figures
from .harness.log import Log
from .harness.release import Release
from .harness.traffic import Traffic


def test_a_rollback_under_load_fails_nothing(release: Release, log: Log, figures: Figures) -> None:
    release.install()
    before = release.pod_template()
    release.upgrade("--set", "settings.SENTIMENT_LOG_LEVEL=debug")
    old = release.pods()
    assert release.pod_template() != before
    with Traffic.at(release.url) as traffic:
        traffic.more(100)
        seconds = release.rollback(1)
        release.wait_until_gone(old)
        traffic.more(100)
    assert release.pod_template() == before
    figures(
        rollback_seconds=round(seconds, 1),
        **traffic.assert_unharmed(log),
    )
