"""17. The CronJob deletes what is older than it was told, and nothing else."""

from .harness.load import Load
from .harness.log import Log
from .harness.namespace import Namespace
from .harness.release import Release

OLD_WEEK = """
CREATE TABLE predictions_old PARTITION OF predictions
    FOR VALUES FROM (date_trunc('week', now()) - interval '30 weeks')
    TO (date_trunc('week', now()) - interval '29 weeks');
INSERT INTO predictions (text, created_at)
SELECT 'old ' || number, date_trunc('week', now()) - interval '29 weeks 1 day'
FROM generate_series(1, 1000) AS number
"""


def test_a_week_that_is_too_old_goes_and_the_others_stay(
    release: Release, namespace: Namespace, log: Log
) -> None:
    release.install("--set", "prune.enabled=true", "--set", "prune.keep=90d")
    with Load(release.url) as load:
        load.more(100)
        log.query(OLD_WEEK)
        namespace.kubectl("create", "job", "--from=cronjob/sentiment-prune", "now")
        namespace.kubectl("wait", "--for=condition=Complete", "job/now", "--timeout=90s")
        load.more(100)
    load.assert_nothing_failed()
    texts = [row.text for row in log.rows()]
    assert not [text for text in texts if text.startswith("old ")]
    log.assert_keeps(load.answers)
