"""15. What cannot start says why in one sentence, where `kubectl describe pod` shows it."""

import pytest

from .harness.namespace import Namespace, Object, last_words, statuses
from .harness.release import Release
from .harness.waiting import wait_until

NOWHERE = "postgresql://user:password@nowhere:5432/ai_db"
ELSEWHERE = "postgresql.enabled=false,database.existingSecret=elsewhere"


def said(pod: Object) -> list[str]:
    """What Kubernetes says of a container that waits, or a container's own last words."""
    waiting = [one.get("state", {}).get("waiting") or {} for one in statuses(pod)]
    return [*last_words(pod), *(one.get("message", "") for one in waiting)]


def sentence(namespace: Namespace, about: str) -> str:
    """Wait for a sentence that mentions it."""

    def look() -> list[str]:
        return [words for pod in namespace.pods() for words in said(pod) if about in words]

    return wait_until(f"a sentence about {about}", look, seconds=120)[0]


def test_a_missing_secret(release: Release, namespace: Namespace) -> None:
    release.install("--set", ELSEWHERE, wait=False)
    assert 'secret "elsewhere" not found' in sentence(namespace, "elsewhere")


def test_a_database_that_is_not_there(release: Release, namespace: Namespace) -> None:
    namespace.kubectl("create", "secret", "generic", "elsewhere", f"--from-literal=uri={NOWHERE}")
    release.install("--set", ELSEWHERE, "--set", "migrate.waitSeconds=3", wait=False)
    words = sentence(namespace, "nowhere")
    assert_one_sentence(words)
    assert "password" not in words


@pytest.mark.parametrize(
    ("value", "about"),
    [
        pytest.param("model.id=/nowhere", "/nowhere", id="a model folder that is absent"),
        pytest.param("model.id=/etc", "/etc", id="a model folder without a model"),
        pytest.param(
            "extraEnv[0].name=SENTIMENT_METRICS_PORT,extraEnv[0].value=8000", "port 8000",
            id="a port in use",
        ),
        pytest.param("settings.SENTIMENT_THREADS=0", "THREADS", id="a setting out of its range"),
    ],
)  # fmt: skip
def test_a_server_that_cannot_start(
    value: str, about: str, release: Release, namespace: Namespace
) -> None:
    release.install("--set-string", value, "--set", "replicas=1", wait=False)
    assert_one_sentence(sentence(namespace, about))


def assert_one_sentence(words: str) -> None:
    assert "Traceback" not in words
    assert len(words.strip().splitlines()) == 1, words
    assert words.strip().endswith("."), words
