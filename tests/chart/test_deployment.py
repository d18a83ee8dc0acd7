"""The server's Deployment: the book's names, and what a careful operator would have written."""

from typing import Any

from .rendering import all_containers, container, environment, pod_of, render


def test_the_release_names_the_objects_as_the_book_does() -> None:
    names = {(each["kind"], each["metadata"]["name"]) for each in render()}
    assert {
        ("Deployment", "sentiment-deployment"),
        ("Service", "sentiment-service"),
        ("Service", "postgresql"),
        ("StatefulSet", "postgresql"),
    } <= names


def test_another_release_has_names_of_its_own() -> None:
    other = render(release="other")
    deployment = other.one("Deployment", "other-deployment")
    assert deployment["spec"]["selector"]["matchLabels"] == {"app": "other"}
    assert "other-service" in other.names("Service")
    assert environment(container(deployment, "sentiment"))["DATABASE_URL"] == {
        "secretKeyRef": {"name": "other-database", "key": "uri"}
    }


def test_the_book_s_values_are_the_defaults() -> None:
    release = render()
    assert release.deployment["spec"]["replicas"] == 3
    assert release.deployment["spec"]["selector"]["matchLabels"] == {"app": "sentiment"}
    assert release.server["image"] == "sentiment-app:latest"
    assert release.server["imagePullPolicy"] == "IfNotPresent"
    assert release.server["ports"][0]["containerPort"] == 8000
    assert release.server["resources"] == {
        "limits": {"memory": "512Mi", "cpu": "1"},
        "requests": {"memory": "256Mi", "cpu": "0.5"},
    }


def test_replicas_and_image_are_the_operators() -> None:
    release = render(replicas=1, image="registry.example/sentiment@sha256:0")
    assert release.deployment["spec"]["replicas"] == 1
    images = {each["image"] for each in all_containers(release.pod)}
    assert images == {"registry.example/sentiment@sha256:0"}


def test_no_pod_is_taken_away_before_its_successor_is_ready() -> None:
    assert render().deployment["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }


def test_each_probe_asks_its_own_question() -> None:
    server = render().server
    ready = {"path": "/health/ready", "port": "http"}
    assert server["startupProbe"]["httpGet"] == ready
    assert server["readinessProbe"]["httpGet"] == ready
    assert server["livenessProbe"]["httpGet"] == {"path": "/health/live", "port": "http"}


def test_a_probe_s_patience_is_a_value() -> None:
    server = render(probes__liveness__failureThreshold=9).server
    assert server["livenessProbe"]["failureThreshold"] == 9
    assert server["livenessProbe"]["timeoutSeconds"] == 10


def test_the_grace_period_holds_the_delay_and_the_drain() -> None:
    release = render(shutdown__delaySeconds=2.5, shutdown__timeoutSeconds=60)
    assert release.pod["terminationGracePeriodSeconds"] == 3 + 60 + 5
    variables = environment(release.server)
    assert variables["SENTIMENT_SHUTDOWN_DELAY_SECONDS"] == "2.5"
    assert variables["SENTIMENT_SHUTDOWN_TIMEOUT_SECONDS"] == "60"


def test_pods_wait_for_the_database_and_its_tables() -> None:
    migrate = container(render(migrate__waitSeconds=20).deployment, "migrate")
    assert migrate["command"] == ["sentiment", "db", "upgrade", "--wait", "20"]
    assert environment(migrate)["DATABASE_URL"] == environment(render().server)["DATABASE_URL"]


def test_every_answer_is_recorded() -> None:
    assert environment(render().server)["SENTIMENT_RECORD"] == "required"


def test_metrics_have_a_port_that_the_service_does_not_have() -> None:
    release = render()
    assert environment(release.server)["SENTIMENT_METRICS_PORT"] == "9090"
    assert {"name": "metrics", "containerPort": 9090} in release.server["ports"]
    ports = release.one("Service", "sentiment-service")["spec"]["ports"]
    assert [port["name"] for port in ports] == ["http"]


def test_no_pod_has_a_token_or_the_variables_of_services() -> None:
    release = render()
    for each in release:
        if each["kind"] in {"Deployment", "StatefulSet", "Pod"}:
            assert pod_of(each)["automountServiceAccountToken"] is False
            assert pod_of(each)["enableServiceLinks"] is False


def test_every_container_is_as_restricted_pod_security_asks() -> None:
    for each in render(model__id="owner/name"):
        if each["kind"] not in {"Deployment", "StatefulSet", "Pod"}:
            continue
        pod = pod_of(each)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for one in all_containers(pod):
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_every_container_is_limited_and_leaves_last_words() -> None:
    for each in render(model__id="owner/name"):
        if each["kind"] in {"Deployment", "StatefulSet", "Pod"}:
            for one in all_containers(pod_of(each)):
                assert set(one["resources"]) == {"limits", "requests"}, one["name"]
                assert one["terminationMessagePolicy"] == "FallbackToLogsOnError", one["name"]


def test_every_volume_that_is_written_is_bounded() -> None:
    for each in render(model__id="owner/name"):
        if each["kind"] in {"Deployment", "StatefulSet"}:
            for volume in pod_of(each)["volumes"]:
                assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": ""})


def test_pods_spread_over_nodes_and_zones_where_they_can() -> None:
    constraints = render().pod["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in constraints] == [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    ]
    assert {each["whenUnsatisfiable"] for each in constraints} == {"ScheduleAnyway"}


def test_spreading_can_be_a_must_or_off() -> None:
    must = render(topologySpread__whenUnsatisfiable="DoNotSchedule").pod
    assert must["topologySpreadConstraints"][0]["whenUnsatisfiable"] == "DoNotSchedule"
    assert "topologySpreadConstraints" not in render(topologySpread__enabled=False).pod


def test_the_pods_go_where_the_operator_says() -> None:
    wanted: dict[str, Any] = {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "serviceAccountName": "sentiment",
        "imagePullSecrets": [{"name": "registry"}],
    }
    pod = render(**wanted).pod
    assert {name: pod[name] for name in wanted} == wanted


def test_labels_reach_everything_and_pod_labels_only_pods() -> None:
    release = render(labels={"team": "nlp"}, podLabels={"tier": "api"}, podAnnotations={"a": "b"})
    assert all(each["metadata"]["labels"]["team"] == "nlp" for each in release)
    pod = release.deployment["spec"]["template"]["metadata"]
    assert pod["labels"]["team"] == "nlp"
    assert pod["labels"]["tier"] == "api"
    assert pod["annotations"]["a"] == "b"
    assert "tier" not in release.deployment["metadata"]["labels"]


def test_a_new_chart_version_alone_replaces_no_pod() -> None:
    release = render()
    for workload in (release.deployment, release.one("StatefulSet", "postgresql")):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert not {"helm.sh/chart", "app.kubernetes.io/version"} & set(labels)


def test_further_settings_are_variables_and_large_numbers_stay_whole() -> None:
    release = render(settings={"SENTIMENT_MAX_BODY_BYTES": 4194304, "SENTIMENT_LOG_LEVEL": "debug"})
    variables = environment(release.server)
    assert variables["SENTIMENT_MAX_BODY_BYTES"] == "4194304"
    assert variables["SENTIMENT_LOG_LEVEL"] == "debug"


def test_further_environment_reaches_all_of_the_server_s_containers() -> None:
    release = render(
        model__id="owner/name", extraEnv=[{"name": "HTTPS_PROXY", "value": "http://p"}]
    )
    for name in ("migrate", "model", "sentiment"):
        assert environment(container(release.deployment, name))["HTTPS_PROXY"] == "http://p"


def test_further_volumes_are_mounted() -> None:
    volume = {"name": "ca", "configMap": {"name": "ca"}}
    mount = {"name": "ca", "mountPath": "/ca"}
    release = render(extraVolumes=[volume], extraVolumeMounts=[mount])
    assert volume in release.pod["volumes"]
    for each in all_containers(release.pod):
        assert mount in each["volumeMounts"]


def test_the_identity_can_be_left_to_the_platform() -> None:
    pod = render(podSecurityContext={"runAsUser": None, "runAsGroup": None, "fsGroup": None}).pod
    assert "runAsUser" not in pod["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"] is True


def test_a_rollout_is_given_up_after_its_pods_have_waited_for_the_database() -> None:
    spec = render(revisionHistoryLimit=3).deployment["spec"]
    migrate = container(render().deployment, "migrate")
    assert spec["progressDeadlineSeconds"] > int(migrate["command"][-1])
    assert spec["revisionHistoryLimit"] == 3
