"""11. Ten replicas start at once on an empty database: one migrates, nobody falls over another."""

from .harness.figures import Figures
from .harness.load import Load
from .harness.log import Log
from .harness.namespace import Namespace, restarts
from .harness.release import Release


def test_ten_replicas_start_on_an_empty_database(
    release: Release, namespace: Namespace, log: Log, figures: Figures
) -> None:
    seconds = release.install("--set", "replicas=10")
    pods = namespace.wait_for_pods(10)
    assert not any(map(restarts, pods))
    assert log.query("SELECT count(*) FROM alembic_version").strip() == "1"
    with Load(release.url, connections=20, renew=10) as load:
        load.more(1000)
    load.assert_nothing_failed()
    figures(
        install_to_ready_seconds=round(seconds, 1),
        **load.figures(),
        **log.assert_keeps(load.answers),
    )
