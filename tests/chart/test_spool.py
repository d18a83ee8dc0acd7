"""Where rows wait while PostgreSQL is away."""

from typing import Any

from .rendering import Manifests, container, environment, render

FOLDER = "/var/spool/sentiment"
MIB = 2**20


def volume(release: Manifests) -> dict[str, Any]:
    """The volume that is mounted where the server writes its spool."""
    [mount] = [each for each in release.server["volumeMounts"] if each["mountPath"] == FOLDER]
    [found] = [each for each in release.pod["volumes"] if each["name"] == mount["name"]]
    return dict(found)


def test_by_default_they_wait_on_the_pod_s_own_disk() -> None:
    release = render()
    variables = environment(release.server)
    assert "emptyDir" in volume(release)
    assert variables["SENTIMENT_SPOOL_DIR"] == FOLDER
    assert "SENTIMENT_SPOOL_ADOPT" not in variables
    assert release.names("PersistentVolumeClaim") == []


def test_the_pod_is_not_evicted_before_its_spool_is_full() -> None:
    release = render(spool__maxBytes=1000 * MIB)
    assert environment(release.server)["SENTIMENT_SPOOL_MAX_BYTES"] == str(1000 * MIB)
    assert volume(release)["emptyDir"] == {"sizeLimit": str(2000 * MIB)}


def test_strictly_they_wait_nowhere() -> None:
    release = render(spool__mode="strict")
    assert environment(release.server)["SENTIMENT_SPOOL"] == "strict"
    assert "spool" not in [each["name"] for each in release.pod["volumes"]]
    assert FOLDER not in [each["mountPath"] for each in release.server["volumeMounts"]]


def test_in_a_claim_each_pod_has_its_folder_and_sees_the_others() -> None:
    """A pod that saw its own alone (`subPathExpr`) could adopt none."""
    release = render(spool__mode="claim")
    variables = environment(release.server)
    assert variables["POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert variables["SENTIMENT_SPOOL_DIR"] == f"{FOLDER}/$(POD_NAME)"
    assert variables["SENTIMENT_SPOOL_ADOPT"] == "true"
    assert volume(release)["persistentVolumeClaim"] == {"claimName": "sentiment-spool"}


def test_the_pod_s_name_is_known_before_it_is_used() -> None:
    names = list(environment(render(spool__mode="claim").server))
    assert names.index("POD_NAME") < names.index("SENTIMENT_SPOOL_DIR")


def test_the_claim_is_shared_and_outlives_the_release() -> None:
    claim = render(spool__mode="claim").one("PersistentVolumeClaim", "sentiment-spool")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "4Gi"
    assert "storageClassName" not in claim["spec"]
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_the_claim_has_the_size_and_class_that_are_asked_for() -> None:
    release = render(spool={"mode": "claim", "claim": {"size": "9Gi", "storageClass": "nfs"}})
    spec = release.one("PersistentVolumeClaim", "sentiment-spool")["spec"]
    assert spec["resources"]["requests"]["storage"] == "9Gi"
    assert spec["storageClassName"] == "nfs"


def test_a_claim_that_is_there_is_taken() -> None:
    release = render(spool={"mode": "claim", "claim": {"existingClaim": "mine"}})
    assert release.names("PersistentVolumeClaim") == []
    assert volume(release)["persistentVolumeClaim"] == {"claimName": "mine"}


def test_only_the_server_itself_sees_the_spool() -> None:
    for mode in ("emptyDir", "claim"):
        migrate = container(render(spool__mode=mode).deployment, "migrate")
        assert "spool" not in [each["name"] for each in migrate["volumeMounts"]]
        assert not any("SPOOL" in name for name in environment(migrate))
