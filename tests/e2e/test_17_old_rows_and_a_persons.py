"""17. Old rows go by the CronJob, a person's when they ask, and no others."""

import httpx

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
ERASE = ["exec", "-i", "deployment/sentiment-deployment", "--", "sentiment", "db", "erase"]


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
    assert "Dropped 1 weeks" in namespace.kubectl("logs", "job/now")
    assert not [row for row in log.rows() if row.text.startswith("old ")]
    log.assert_keeps(load.answers)


def test_a_persons_rows_go_when_they_ask_and_the_others_stay(
    release: Release, namespace: Namespace, log: Log
) -> None:
    release.install()
    theirs = {"text": "my own words", "subject": "somebody"}
    with Load(release.url) as load:
        httpx.post(f"{release.url}/predict", json=theirs).raise_for_status()
        said = namespace.kubectl(*ERASE, "--subject", "-", stdin="somebody")
        load.more(100)
    assert "Erased 1 rows" in said
    load.assert_nothing_failed()
    assert "my own words" not in [row.text for row in log.rows()]
    assert log.query("SELECT rows FROM erasures").strip() == "1"
    log.assert_keeps(load.answers)
