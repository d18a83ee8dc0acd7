"""3. `helm rollback` under load, to what ran before."""

from .harness.figures import Figures
from .harness.load import Load
from .harness.log import Log
from .harness.release import Release


def test_a_rollback_under_load_fails_nothing(release: Release, log: Log, figures: Figures) -> None:
    release.install()
    before = release.pod_template()
    release.upgrade("--set", "settings.SENTIMENT_LOG_LEVEL=debug")
    old = release.pods()
    assert release.pod_template() != before
    with Load(release.url) as load, Load(release.url, connections=2, renew=1) as fresh:
        load.more(100)
        seconds = release.rollback(1)
        release.wait_until_gone(old)
        load.more(100)
    assert release.pod_template() == before
    for one in (load, fresh):
        one.assert_nothing_failed()
    kept = log.assert_keeps(load.answers + fresh.answers)
    figures(
        rollback_seconds=round(seconds, 1),
        fresh_requests=len(fresh.answers),
        **load.figures(),
        **kept,
    )
