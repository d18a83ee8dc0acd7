"""7. High load for minutes at the book's limits, 512Mi and 1 cpu: no restart, bounded latency."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from .harness.books_app import Limits, books_app, database_for_it, watch
from .harness.figures import Figures
from .harness.limits import used
from .harness.load import SENTENCES, Load
from .harness.log import Log
from .harness.models import distilbert, model_claim
from .harness.namespace import Namespace, name_of, restarts
from .harness.release import Release

CLIENTS = 64


@pytest.fixture
def minutes(request: pytest.FixtureRequest) -> float:
    return float(request.config.getoption("minutes"))


def under_load(release: Release, log: Log, minutes: float, *words: str) -> dict[str, object]:
    """One server for so long; its figures."""
    namespace = release.namespace
    release.install("--set", "replicas=1", *words)
    [pod] = namespace.pods()
    name = name_of(pod)
    before = used(namespace, name)
    with Load(release.url, connections=CLIENTS) as load:
        load.last(minutes * 60)
    after = used(namespace, name)
    [pod] = namespace.wait_for_pods(1)
    assert (name_of(pod), restarts(pod)) == (name, 0)
    load.assert_nothing_failed()
    return {
        **load.figures(),
        **log.assert_keeps(load.answers),
        "bytes_a_row": log.bytes_a_row(),
        "rss_peak_mib": after.rss_peak_mib,
        "memory_peak_mib": after.memory_peak_mib,
        "throttled_share": after.throttled_share(before),
    }


def test_full_load_at_the_limits(
    release: Release, log: Log, figures: Figures, minutes: float
) -> None:
    found = under_load(release, log, minutes)
    assert found["p99_ms"] < 2_000  # type: ignore[operator]
    figures(**found)


def test_a_distilbert_shaped_model_at_the_limits(
    release: Release, namespace: Namespace, log: Log, figures: Figures, minutes: float
) -> None:
    with model_claim(namespace, distilbert()) as claim:
        found = under_load(release, log, minutes, "--set", f"model.existingClaim={claim}")
    assert found["p99_ms"] < 10_000  # type: ignore[operator]
    figures(**found)


@pytest.mark.parametrize("memory_mib", [512, 2048])
def test_the_books_own_app_for_comparison(
    memory_mib: int,
    release: Release,
    namespace: Namespace,
    figures: Figures,
    minutes: float,
    tmp_path: Path,
) -> None:
    release.install("--set", "replicas=0")
    url = database_for_it(namespace)
    with books_app(Limits(memory_mib, cpus=1), url, tmp_path / "log") as app:
        at_start = round(app.peak_rss_mib(), 1)
        with Load("http://{}:{}".format(*app.address), connections=CLIENTS) as load:
            peak, killed = watch(app, load, minutes * 60)
    figures(
        memory_mib=memory_mib,
        rss_at_start_mib=at_start,
        rss_peak_mib=max(at_start, peak),
        killed_after_seconds=killed,
        **load.figures(),
    )


def test_beyond_capacity_the_answer_is_429(
    release: Release, namespace: Namespace, figures: Figures
) -> None:
    release.install("--set", "replicas=1")
    url = f"{release.url}/predict"
    body = {"texts": [SENTENCES[-1]] * 256}

    def ask(_: int) -> httpx.Response:
        return httpx.post(url, json=body, timeout=60, trust_env=False)

    with ThreadPoolExecutor(24) as clients:
        answers = list(clients.map(ask, range(48)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    refused = [answer for answer in answers if answer.status_code == 429]
    assert all(answer.headers["Retry-After"] for answer in refused)
    assert {answer.json()["error_type"] for answer in refused} == {"overloaded"}
    [pod] = namespace.wait_for_pods(1)
    assert restarts(pod) == 0
    figures(
        requests=len(statuses),
        too_many=len(refused),
        memory_peak_mib=used(namespace, name_of(pod)).memory_peak_mib,
    )
