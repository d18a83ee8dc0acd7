from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from sentiment_k8s.schemas import LoggedPrediction, PredictionsPage, Stats
from tests.serving import RunningServer, running_server


def test_the_newest_prediction_is_first(client: httpx.Client) -> None:
    for text in ("first of two", "second of two"):
        client.get("/predict", params={"text": text})
    page = PredictionsPage.model_validate_json(client.get("/predictions?limit=2").content)
    assert [row.text for row in page.predictions] == ["second of two", "first of two"]


def test_pages_follow_each_other_by_cursor_without_overlap(client: httpx.Client) -> None:
    client.post("/predict", json={"texts": [f"page text {n}" for n in range(7)]})
    texts: list[str] = []
    cursor = None
    while len(texts) < 7:
        parameters = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
        page = client.get("/predictions", params=parameters).json()
        texts += [row["text"] for row in page["predictions"]]
        cursor = page["next"]
    assert texts[:7] == [f"page text {n}" for n in reversed(range(7))]


def test_predictions_are_filtered_by_label_and_time(client: httpx.Client) -> None:
    client.post("/predict", json={"texts": ["wonderful", "terrible"]})
    negative = client.get("/predictions", params={"label": "NEGATIVE", "limit": 1}).json()
    assert negative["predictions"][0]["text"] == "terrible"
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert client.get("/predictions", params={"since": tomorrow}).json()["predictions"] == []


def test_predictions_are_filtered_by_words_model_and_score(client: httpx.Client) -> None:
    client.post("/predict", json={"texts": ["a zebra that I love", "a zebra that I hate"]})
    found = client.get("/predictions", params={"text": "zebra -hate", "model": "bundled"}).json()
    assert [row["text"] for row in found["predictions"]] == ["a zebra that I love"]
    score = found["predictions"][0]["score"]
    sure = {"text": "zebra", "min_score": score, "max_score": score}
    assert client.get("/predictions", params=sure).json()["predictions"] == found["predictions"]
    assert client.get("/predictions", params={"model": "other"}).json()["predictions"] == []


def test_where_the_log_keeps_digests_only_the_very_text_is_found(data_dir: Path) -> None:
    hashed = {"SENTIMENT_RECORD_TEXT": "hash", "SENTIMENT_TEXT_KEY": "k" * 32}
    with running_server(data_dir, **hashed) as server:
        httpx.get(f"{server.url}/predict", params={"text": "I love AI!"})

        def found(text: str) -> int:
            answer = httpx.get(f"{server.url}/predictions", params={"text": text})
            return len(answer.json()["predictions"])

        assert (found("I love AI!"), found("love"), found("i love ai!")) == (1, 0, 0)


def test_stats_count_by_label(client: httpx.Client) -> None:
    def totals() -> dict[str, int]:
        stats = Stats.model_validate_json(client.get("/stats?hours=1&buckets=4").content)
        assert len(stats.buckets) == 4
        return stats.totals

    before = totals()
    client.post("/predict", json={"texts": ["superb", "superb", "horrible"]})
    after = totals()
    assert after["POSITIVE"] - before.get("POSITIVE", 0) == 2
    assert after["NEGATIVE"] - before.get("NEGATIVE", 0) == 1


def test_a_row_is_what_the_schema_documents(client: httpx.Client) -> None:
    answer = client.get("/predict", params={"text": "documented"}).json()
    LoggedPrediction.model_validate_json(client.get(f"/predictions/{answer['id']}").content)


def test_an_unknown_id_is_404_and_a_broken_one_400(client: httpx.Client) -> None:
    assert client.get(f"/predictions/{uuid4()}").status_code == 404
    assert client.get("/predictions/not-a-uuid").status_code == 400


def test_the_plus_of_a_time_need_not_be_encoded(client: httpx.Client) -> None:
    assert client.get("/predictions?since=2026-01-01T00:00:00+01:00").is_success


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=x",
        "cursor=rubbish",
        "since=yesterday",
        "since=1767225600",
        "since=2026-01-01T00:00:00",
        "label=%00",
        "text=%00",
        "min_score=nan",
        "max_score=x",
        "text=" + 1001 * "x",
        "colour=red",
    ],
)
def test_a_wrong_filter_is_400(client: httpx.Client, query: str) -> None:
    assert client.get(f"/predictions?{query}").status_code == 400


def test_the_log_needs_the_token_where_there_is_one(data_dir: Path) -> None:
    with running_server(data_dir, SENTIMENT_READ_TOKEN="t0ken") as server:
        for path in ("/predictions", "/stats", f"/predictions/{uuid4()}"):
            answer = httpx.get(server.url + path)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        bearer = {"Authorization": "Bearer t0ken"}
        assert httpx.get(f"{server.url}/predictions", headers=bearer).is_success
        wrong = {b"Authorization": b"Bearer t0ken\xe9"}
        assert httpx.get(f"{server.url}/predictions", headers=wrong).status_code == 401
        assert httpx.get(f"{server.url}/predict", params={"text": "open"}).is_success


def test_the_log_is_closed_beyond_loopback_without_a_token(data_dir: Path) -> None:
    with running_server(data_dir, "--host", "0.0.0.0") as server:
        url = f"http://127.0.0.1:{server.port}"
        answer = httpx.get(f"{url}/predictions")
        assert answer.status_code == 403
        assert "SENTIMENT_READ_TOKEN" in answer.json()["error"]
        assert httpx.get(f"{url}/predict", params={"text": "open"}).is_success


def test_the_log_can_be_opened_to_everyone(data_dir: Path) -> None:
    with running_server(data_dir, "--host", "0.0.0.0", "--read", "open") as server:
        assert httpx.get(f"http://127.0.0.1:{server.port}/predictions").is_success


def test_the_scheme_of_the_token_is_read_in_any_case(data_dir: Path) -> None:
    with running_server(data_dir, SENTIMENT_READ_TOKEN="t0ken") as server:
        bearer = {"Authorization": "bearer t0ken"}
        assert httpx.get(f"{server.url}/predictions", headers=bearer).is_success


@pytest.mark.parametrize("host", ["LOCALHOST:80", "[::1]", "127.0.0.1", "localhost"])
def test_every_name_of_this_machine_may_read_the_log(server: RunningServer, host: str) -> None:
    assert httpx.get(f"{server.url}/predictions", headers={"Host": host}).is_success


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_a_proxy_on_this_machine_does_not_open_the_log(server: RunningServer, header: str) -> None:
    forwarded = {header: "for=203.0.113.9"}
    assert httpx.get(f"{server.url}/predictions", headers=forwarded).status_code == 403


def test_a_page_of_another_site_cannot_read_the_log(server: RunningServer) -> None:
    rebound = {"Host": f"evil.example:{server.port}"}
    assert httpx.get(f"{server.url}/predictions", headers=rebound).status_code == 403
