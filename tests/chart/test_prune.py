"""The CronJob that deletes old rows."""

from typing import Any

from .rendering import Object, all_containers, environment, render


def job(**sets: Any) -> Object:
    """What the CronJob makes at its time."""
    cron = render(prune__enabled=True, **sets).one("CronJob", "sentiment-prune")
    found: Object = cron["spec"]["jobTemplate"]["spec"]
    return found


def test_nothing_is_deleted_unless_asked_for() -> None:
    release = render()
    assert release.names("CronJob") == []
    assert "sentiment-prune-network" not in release.names("NetworkPolicy")


def test_what_is_older_than_asked_for_goes_when_asked_for() -> None:
    cron = render(prune={"enabled": True, "keep": "30d", "schedule": "0 4 * * 0"}).one(
        "CronJob", "sentiment-prune"
    )
    assert cron["spec"]["schedule"] == "0 4 * * 0"
    [prune] = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert prune["command"] == ["sentiment", "db", "prune", "--keep", "30d"]


def test_one_runs_at_a_time_ends_and_leaves_its_last_words() -> None:
    spec = render(prune__enabled=True).one("CronJob", "sentiment-prune")["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert (spec["successfulJobsHistoryLimit"], spec["failedJobsHistoryLimit"]) == (1, 3)
    assert job()["activeDeadlineSeconds"] == 3600
    [prune] = job()["template"]["spec"]["containers"]
    assert prune["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_it_has_the_server_s_image_database_and_rights() -> None:
    release = render(prune__enabled=True, image="registry.example/sentiment@sha256:0")
    pod = job(image="registry.example/sentiment@sha256:0")["template"]["spec"]
    [prune] = all_containers(pod)
    assert prune["image"] == release.server["image"]
    assert environment(prune)["DATABASE_URL"] == environment(release.server)["DATABASE_URL"]
    assert prune["securityContext"] == release.server["securityContext"]
    assert pod["securityContext"] == release.pod["securityContext"]
    assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False


def test_it_is_not_behind_the_service() -> None:
    assert job()["template"]["metadata"]["labels"]["app"] == "sentiment-prune"


def test_it_goes_where_the_server_may_go_with_what_it_needs() -> None:
    volume, mount = {"name": "ca", "configMap": {"name": "ca"}}, {"name": "ca", "mountPath": "/ca"}
    variable = {"name": "PGSSLROOTCERT", "value": "/ca/ca.crt"}
    pod = job(
        nodeSelector={"disk": "ssd"},
        tolerations=[{"key": "spot", "operator": "Exists"}],
        imagePullSecrets=[{"name": "registry"}],
        extraVolumes=[volume],
        extraVolumeMounts=[mount],
        extraEnv=[variable],
        prune__resources={"limits": {"cpu": "1"}},
    )["template"]["spec"]
    [prune] = pod["containers"]
    assert pod["nodeSelector"] == {"disk": "ssd"}
    assert pod["tolerations"] == [{"key": "spot", "operator": "Exists"}]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert volume in pod["volumes"]
    assert mount in prune["volumeMounts"]
    assert variable in prune["env"]
    assert prune["resources"]["limits"]["cpu"] == "1"
