"""The model: the image's own, from the hub, or from a claim."""

from typing import Any

from .rendering import Manifests, container, environment, render


def egress_ports(release: Manifests) -> list[int]:
    policy = release.one("NetworkPolicy", "sentiment-network")
    return [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]


def model_environment(**sets: Any) -> dict[str, Any]:
    variables = environment(render(**sets).server)
    names = ("SENTIMENT_MODEL", "SENTIMENT_REVISION", "SENTIMENT_MODEL_FILE")
    return {name: variables[name] for name in names if name in variables}


def test_the_image_brings_its_own() -> None:
    release = render()
    assert model_environment() == {}
    assert [each["name"] for each in release.pod["initContainers"]] == ["migrate"]
    assert 443 not in egress_ports(release)


def test_the_bundled_one_or_a_folder_of_the_image_needs_no_hub() -> None:
    for name in ("bundled", "/opt/models/mine"):
        release = render(model__id=name)
        assert model_environment(model__id=name)["SENTIMENT_MODEL"] == name
        assert [each["name"] for each in release.pod["initContainers"]] == ["migrate"]
        assert 443 not in egress_ports(release)


def test_one_of_the_hub_is_pulled_by_an_init_container_with_the_egress_it_needs() -> None:
    release = render(model__id="owner/name", model__revision="abc", model__file="onnx/model.onnx")
    pull = container(release.deployment, "model")
    assert pull["command"] == ["sentiment", "model", "pull", "owner/name"]
    assert {"name": "models", "mountPath": "/models"} in pull["volumeMounts"]
    for each in (pull, release.server):
        variables = environment(each)
        assert variables["SENTIMENT_MODEL"] == "owner/name"
        assert variables["SENTIMENT_REVISION"] == "abc"
        assert variables["SENTIMENT_MODEL_FILE"] == "onnx/model.onnx"
        assert variables["HF_HOME"] == "/models"
    assert 443 in egress_ports(release)


def test_the_server_itself_never_asks_the_hub() -> None:
    release = render(model__id="owner/name")
    assert environment(release.server)["HF_HUB_OFFLINE"] == "1"
    assert environment(container(release.deployment, "model"))["HF_HUB_OFFLINE"] == "0"
    assert {"name": "models", "mountPath": "/models", "readOnly": True} in release.server[
        "volumeMounts"
    ]


def test_another_model_is_not_served_at_the_revision_of_the_image_s_own() -> None:
    assert model_environment(model__id="owner/name")["SENTIMENT_REVISION"] == ""


def test_a_pulled_model_is_bounded_on_the_node_s_disk() -> None:
    volumes = render(model__id="owner/name", model__cacheSize="5Gi").pod["volumes"]
    assert {"name": "models", "emptyDir": {"sizeLimit": "5Gi"}} in volumes


def test_a_private_one_is_pulled_by_a_token_that_the_server_does_not_have() -> None:
    release = render(model__id="owner/name", model__tokenSecret="hub")
    token = {"secretKeyRef": {"name": "hub", "key": "token"}}
    assert environment(container(release.deployment, "model"))["HF_TOKEN"] == token
    assert "HF_TOKEN" not in environment(release.server)


def test_one_in_a_claim_is_mounted_read_only_and_needs_no_hub() -> None:
    release = render(model__existingClaim="models", model__path="sst2")
    assert environment(release.server)["SENTIMENT_MODEL"] == "/models/sst2"
    claim = {"claimName": "models", "readOnly": True}
    assert {"name": "models", "persistentVolumeClaim": claim} in release.pod["volumes"]
    assert [each["name"] for each in release.pod["initContainers"]] == ["migrate"]
    assert 443 not in egress_ports(release)


def test_a_claim_may_itself_be_the_model_s_folder() -> None:
    assert model_environment(model__existingClaim="models")["SENTIMENT_MODEL"] == "/models"
