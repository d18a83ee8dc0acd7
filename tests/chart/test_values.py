"""values.yaml, its schema and its table; what helm says of wrong values, and after an install."""

import runpy
from typing import Any

import pytest
import yaml

from sentiment_k8s.settings import Settings, environment_name

from .rendering import CHART, ROOT, notes, refusal, render

GENERATE = runpy.run_path(str(ROOT / "tools/chart/generate.py"))
SET_BY_THE_CHART = {
    "DATABASE_URL",
    "SENTIMENT_DATA_DIR",  # there is no embedded PostgreSQL in the image
    "SENTIMENT_HOST",
    "SENTIMENT_METRICS_PORT",
    "SENTIMENT_MODEL",
    "SENTIMENT_MODEL_FILE",
    "SENTIMENT_PORT",
    "SENTIMENT_READ_TOKEN",
    "SENTIMENT_RECORD",
    "SENTIMENT_RECORD_TEXT",
    "SENTIMENT_REVISION",
    "SENTIMENT_SHUTDOWN_DELAY_SECONDS",
    "SENTIMENT_SHUTDOWN_TIMEOUT_SECONDS",
    "SENTIMENT_SPOOL",
    "SENTIMENT_SPOOL_ADOPT",
    "SENTIMENT_SPOOL_DIR",
    "SENTIMENT_SPOOL_MAX_BYTES",
    "SENTIMENT_TEXT_KEY",
}


@pytest.mark.parametrize("path", GENERATE["generated"](), ids=lambda path: path.name)
def test_what_is_generated_from_the_values_is_fresh(path: Any) -> None:
    assert path.read_text() == GENERATE["generated"]()[path], "run: make generate"


def test_a_value_without_a_comment_is_not_accepted() -> None:
    with pytest.raises(ValueError, match=r"group\.value has no comment"):
        list(GENERATE["read_values"]("group:\n  # A remark\n  value: 1\n"))


def test_every_setting_of_the_server_can_be_set() -> None:
    values = {
        value.path: value for value in GENERATE["read_values"]((CHART / "values.yaml").read_text())
    }
    allowed = set(values[("settings",)].schema["propertyNames"]["enum"])
    every = {environment_name(field) for field in Settings.model_fields}
    assert allowed == every - SET_BY_THE_CHART


def test_the_defaults_are_the_server_s_own() -> None:
    """What has a value here is what the server, told nothing, would not do in a pod."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values["spool"]["maxBytes"] == Settings().spool_max_bytes
    assert values["recordText"] == Settings().record_text


def test_a_drain_lasts_longer_than_a_request_may() -> None:
    """So that time is left for the spool."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values["shutdown"]["timeoutSeconds"] >= Settings().deadline_seconds + 30


WRONG: list[tuple[str, Any]] = [
    ("replica", 3),
    ("replicas", "three"),
    ("replicas", -1),
    ("image", ""),
    ("image", {"repository": "sentiment-app", "tag": "latest"}),
    ("imagePullPolicy", "Sometimes"),
    ("servicePort", 70000),
    ("service__type", "ExternalName"),
    ("service__nodePort", "30080"),
    ("ingress__enabled", "yes"),
    ("ingress__hosts", ["a.example"]),
    ("postgresql__user", "postgres"),
    ("postgresql__passwort", "secret"),
    ("postgresql__name", "Not_A_Name"),
    ("postgresql__storage__size", "lots"),
    ("settings__SENTIMENT_TOKEN_BUGDET", 512),
    ("settings__SENTIMENT_RECORD", "off"),
    ("autoscaling__minReplicas", 0),
    ("shutdown__delaySeconds", -1),
    ("topologySpread__whenUnsatisfiable", "Never"),
    ("spool__mode", "disk"),
    ("spool__maxBytes", "256Mi"),
    ("spool__maxBytes", 1000),
    ("spool__claim__size", "lots"),
    ("prune__keep", "three months"),
    ("prune__keep", "0d"),
    ("recordText", "none"),
    ("textKey__value", "too short"),
    ("settings__SENTIMENT_SPOOL_DIR", "/tmp"),
    ("extraEnv", [{"value": "without a name"}]),
]


@pytest.mark.parametrize(("path", "value"), WRONG, ids=lambda each: str(each)[:30])
def test_a_wrong_value_is_refused_by_its_key(path: str, value: Any) -> None:
    assert path.split("__")[-1] in refusal(**{path: value})


def test_a_parent_chart_may_hand_down_global_values() -> None:
    handed: dict[str, Any] = {"global": {"registry": "example"}}
    assert render(**handed)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ((), "port-forward svc/sentiment-service 8000:80 &"),
        ((), "--data-urlencode"),
        ((), "get secret sentiment-read-token"),
        ((), "leaves the data, in the claim data-postgresql-0"),
        (("service.type=NodePort",), "port of any node"),
        (("service.type=LoadBalancer",), "load balancer's address"),
        (("ingress.enabled=true",), "http://sentiment.local"),
        (("ingress.enabled=true", "ingress.tls.enabled=true"), "https://sentiment.local"),
        (("readToken.existingSecret=mine",), "get secret mine"),
        ((), "a pod deleted then takes its rows with it"),
        (("spool.mode=claim",), "rows wait in the claim sentiment-spool"),
        (("spool.mode=strict",), "every answer is a 503"),
        (("prune.enabled=true",), "Rows older than 90d are deleted"),
    ],
)
def test_after_an_install_helm_says_the_next_command(sets: tuple[str, ...], said: str) -> None:
    assert said in notes(*sets)
