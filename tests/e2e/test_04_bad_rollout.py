"""4. What cannot work rolls out no further, and the old pods go on serving."""

import pytest

from .harness.figures import Figures
from .harness.load import Load
from .harness.log import Log
from .harness.namespace import Object, last_words, ready, states
from .harness.programs import CommandFailed
from .harness.release import Release
from .harness.waiting import wait_until

NOBODY = "127.0.0.1:9/no-such-image:1"  # the port "discard", where nothing listens


def stuck(pod: Object) -> bool:
    """Whether a pod is new and cannot start, and Kubernetes or we have said why."""
    waiting = [one["now"]["waiting"]["reason"] for one in states(pod).values()
               if "waiting" in (one["now"] or {})]  # fmt: skip
    return not ready(pod) and ("ImagePullBackOff" in waiting or any(last_words(pod)))


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(f"image={NOBODY}", id="image"),
        pytest.param("settings.SENTIMENT_TOKEN_BUDGET=-1", id="setting"),
    ],
)
def test_a_bad_upgrade_leaves_the_old_pods_serving(
    bad: str, release: Release, log: Log, figures: Figures
) -> None:
    release.install()
    old = release.pods()
    with Load(release.url) as load:
        release.upgrade("--set", bad, wait=False)
        wait_until(
            "a stuck new pod",
            lambda: [pod for pod in release.namespace.pods() if stuck(pod)],
            seconds=90,
        )
        load.more(300)
        assert set(old) <= set(release.pods())
        release.rollback(1)
        load.more(100)
    load.assert_nothing_failed()
    figures(**load.figures(), **log.assert_keeps(load.answers))


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("replicas=many", "replicas"),
        ("servicePort=0", "servicePort"),
        ("postgresql.enabled=perhaps", "postgresql"),
        ("replica=3", "replica"),
    ],
)
def test_a_bad_value_is_refused_by_name(value: str, named: str, release: Release) -> None:
    with pytest.raises(CommandFailed, match=named):
        release.install("--set", value, wait=False)
    assert release.history_is_empty()
