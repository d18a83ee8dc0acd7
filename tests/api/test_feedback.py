from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from sentiment_k8s.schemas import Feedback, LoggedPrediction
from tests.serving import running_server


@pytest.fixture
def url(client: httpx.Client) -> str:
    """Where feedback on a new row goes."""
    answer = client.get("/predict", params={"text": "what a lovely delay"}).json()
    return f"/predictions/{answer['id']}/feedback"


def test_feedback_is_answered_as_it_is_kept_and_shown(client: httpx.Client, url: str) -> None:
    given = {"label": "NEGATIVE", "comment": "irony"}
    kept = client.post(url, json=given)
    assert kept.status_code == 200
    Feedback.model_validate_json(kept.content)
    assert client.post(url, json=given).json() == kept.json()
    row = client.get(url.removesuffix("/feedback"))
    LoggedPrediction.model_validate_json(row.content)
    assert row.json()["feedback"] == kept.json()


def test_feedback_counts_in_the_stats(client: httpx.Client, url: str) -> None:
    before = client.get("/stats?hours=1&buckets=1").json()["feedback"]["count"]
    client.post(url, json={"label": "NEGATIVE"})
    assert client.get("/stats?hours=1&buckets=1").json()["feedback"]["count"] == before + 1


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{}",
        '{"label": "neither"}',
        '{"label": ""}',
        '{"label": "NEGATIVE", "comment": "\\u0000"}',
        '{"label": "NEGATIVE", "comment": "\\ud800"}',
        '{"label": "NEGATIVE", "colour": "red"}',
    ],
)
def test_what_is_no_feedback_is_400(client: httpx.Client, url: str, body: str) -> None:
    answer = client.post(url, content=body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error", "error_type"}


def test_feedback_on_no_row_is_404_and_on_no_id_400(client: httpx.Client) -> None:
    label = {"label": "NEGATIVE"}
    assert client.post(f"/predictions/{uuid4()}/feedback", json=label).status_code == 404
    assert client.post("/predictions/x/feedback", json=label).status_code == 400


def test_feedback_needs_the_token_of_the_log(data_dir: Path) -> None:
    with running_server(data_dir, SENTIMENT_READ_TOKEN="t0ken") as server:
        url = f"{server.url}/predictions/{uuid4()}/feedback"
        assert httpx.post(url, json={"label": "NEGATIVE"}).status_code == 401
