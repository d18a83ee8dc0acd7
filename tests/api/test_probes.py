import json

import httpx
import pytest

from sentiment_k8s.schemas import Health


def test_health_is_healthy_and_describes_model_and_log(client: httpx.Client) -> None:
    health = Health.model_validate_json(client.get("/health").content)
    assert health.ready
    assert health.model is not None
    assert health.model.labels == ["NEGATIVE", "POSITIVE"]
    assert health.record.mode == "embedded"


def test_a_ready_server_is_live_and_ready(client: httpx.Client) -> None:
    assert client.get("/health/live").status_code == 200
    assert client.get("/health/ready").status_code == 200


@pytest.mark.parametrize("path", ["/", "/health", "/health/live", "/health/ready"])
def test_a_load_balancer_may_look_with_head(client: httpx.Client, path: str) -> None:
    answer = client.head(path)
    assert answer.is_success
    assert not answer.content


@pytest.mark.parametrize(
    ("path", "methods"), [("/predict", "GET, POST"), ("/v2/models/bundled/infer", "POST")]
)
def test_another_method_is_told_which_there_are(
    client: httpx.Client, path: str, methods: str
) -> None:
    answer = client.options(path)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == methods


def test_metrics_count_what_was_answered(client: httpx.Client) -> None:
    def counted() -> float:
        lines = client.get("/metrics").text.splitlines()
        wanted = 'sentiment_requests_total{route="/predict",status="200"}'
        return float(next((n for n in lines if n.startswith(wanted)), "0 0").split()[-1])

    before = counted()
    client.get("/predict", params={"text": "count me"})
    assert counted() == before + 1


def test_the_api_document_has_every_route_with_its_errors(client: httpx.Client) -> None:
    document = client.get("/openapi.json").text
    paths = json.loads(document)["paths"]
    assert {"/predict", "/predictions", "/predictions/{id}", "/stats", "/health"} <= set(paths)
    assert {"200", "400", "413", "429", "503", "504"} <= set(paths["/predict"]["post"]["responses"])
    assert "HTTPValidationError" not in document  # the framework's shape, which is not ours


def test_the_api_page_loads_nothing_from_elsewhere(client: httpx.Client) -> None:
    page = client.get("/docs").text
    assert "swagger" in page
    assert "//" not in page.replace("/*", "").replace("*/", "")
