"""PostgreSQL: the chart's own, an operator's, or one from elsewhere; and its Secret."""

from urllib.parse import unquote, urlsplit

from .rendering import Manifests, container, environment, pod_of, refusal, render


def uri(release: Manifests) -> str:
    secret: str = release.one("Secret", "sentiment-database")["stringData"]["uri"]
    return secret


def test_the_book_s_database_is_the_default() -> None:
    address = urlsplit(uri(render()))
    assert (address.hostname, address.port) == ("postgresql", 5432)
    assert (address.username, address.path) == ("user", "/ai_db")


def test_a_password_is_made_where_none_is_given() -> None:
    secret = render().one("Secret", "sentiment-database")["stringData"]
    assert len(secret["password"]) == 32
    assert urlsplit(secret["uri"]).password == secret["password"]


def test_each_release_has_another_password() -> None:
    here = render().one("Secret", "sentiment-database")["stringData"]["password"]
    there = render(release="other").one("Secret", "other-database")["stringData"]["password"]
    assert here != there


def test_any_password_survives_the_address() -> None:
    password = "p@ss/w:rd %+'\"$"
    secret = render(postgresql__password=password).one("Secret", "sentiment-database")["stringData"]
    assert secret["password"] == password
    assert unquote(urlsplit(secret["uri"]).password or "") == password


def test_no_password_stands_in_a_pod() -> None:
    release = render(postgresql__password="the-password", readToken__value="the-token")
    workloads = [each for each in release if each["kind"] != "Secret"]
    assert "the-password" not in str(workloads)
    assert "the-token" not in str(workloads)


def test_only_the_container_that_sets_the_password_has_it() -> None:
    statefulset = render().one("StatefulSet", "postgresql")
    mounts = container(statefulset, "postgresql")["volumeMounts"]
    assert "password" not in [mount["name"] for mount in mounts]
    assert not any("PASSWORD" in name for name in environment(container(statefulset, "postgresql")))
    assert {
        "name": "password",
        "mountPath": "/run/secrets/postgresql",
        "readOnly": True,
    } in container(statefulset, "prepare")["volumeMounts"]


def test_another_password_rolls_the_server_and_postgresql() -> None:
    def checksums(password: str) -> list[str]:
        release = render(postgresql__password=password)
        workloads = (release.deployment, release.one("StatefulSet", "postgresql"))
        return [
            each["spec"]["template"]["metadata"]["annotations"]["checksum/database"]
            for each in workloads
        ]

    assert not set(checksums("one")) & set(checksums("two"))


def test_another_token_rolls_the_server_alone() -> None:
    one, two = (
        render(readToken__value=token, postgresql__password="same") for token in ("one", "two")
    )
    assert one.deployment["spec"]["template"] != two.deployment["spec"]["template"]
    assert one.one("StatefulSet", "postgresql") == two.one("StatefulSet", "postgresql")


def test_the_database_s_name_and_user_are_values() -> None:
    release = render(postgresql__db="log", postgresql__user="writer")
    address = urlsplit(uri(release))
    assert (address.username, address.path) == ("writer", "/log")
    variables = environment(container(release.one("StatefulSet", "postgresql"), "prepare"))
    assert (variables["DB"], variables["DB_USER"]) == ("log", "writer")


def test_postgresql_can_have_another_name() -> None:
    release = render(postgresql__name="log-db")
    assert urlsplit(uri(release)).hostname == "log-db"
    statefulset = release.one("StatefulSet", "log-db")
    service = release.one("Service", "log-db")
    assert service["spec"]["selector"] == statefulset["spec"]["selector"]["matchLabels"]
    assert "log-db-network" in release.names("NetworkPolicy")


def test_its_data_lie_below_the_mount_and_outlive_it() -> None:
    statefulset = render().one("StatefulSet", "postgresql")
    [claim] = statefulset["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "8Gi"
    assert "storageClassName" not in claim["spec"]
    assert statefulset["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"
    data = environment(container(statefulset, "postgresql"))["PGDATA"]
    assert data == "/var/lib/postgresql/data/pgdata"


def test_its_claim_has_the_size_and_class_that_are_asked_for() -> None:
    release = render(postgresql__storage={"size": "20Gi", "storageClass": "fast"})
    [claim] = release.one("StatefulSet", "postgresql")["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "20Gi"
    assert claim["spec"]["storageClassName"] == "fast"


def test_its_claim_is_the_same_in_every_version() -> None:
    """Kubernetes refuses an upgrade that would change it."""
    [claim] = render(labels={"a": "b"}).one("StatefulSet", "postgresql")["spec"][
        "volumeClaimTemplates"
    ]
    assert claim["metadata"]["labels"] == {"app": "postgresql"}


def test_its_settings_are_values_and_large_numbers_stay_whole() -> None:
    settings = {"max_connections": 200, "work_mem": "8MB", "max_wal_size": 1048576}
    statefulset = render(postgresql__settings=settings).one("StatefulSet", "postgresql")
    command = container(statefulset, "postgresql")["command"]
    assert {"max_connections=200", "work_mem=8MB", "max_wal_size=1048576"} <= set(command)


def test_what_people_wrote_stays_out_of_its_log() -> None:
    command = container(render().one("StatefulSet", "postgresql"), "postgresql")["command"]
    assert {"log_error_verbosity=terse", "log_min_error_statement=panic"} <= set(command)


def test_it_goes_where_the_operator_says_with_what_it_needs() -> None:
    wanted = {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "db", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
    }
    limits = {"limits": {"memory": "1Gi", "cpu": "2"}}
    release = render(postgresql=wanted | {"image": "postgres:18", "resources": limits})
    statefulset = release.one("StatefulSet", "postgresql")
    assert {name: pod_of(statefulset)[name] for name in wanted} == wanted
    assert container(statefulset, "postgresql")["image"] == "postgres:18"
    assert container(statefulset, "postgresql")["resources"]["limits"] == limits["limits"]


def test_it_is_probed_by_its_own_means() -> None:
    postgresql = container(render().one("StatefulSet", "postgresql"), "postgresql")
    assert postgresql["readinessProbe"]["exec"]["command"] == ["pg_isready"]
    assert "livenessProbe" in postgresql
    assert "startupProbe" in postgresql


def test_one_from_elsewhere_is_named_by_a_secret() -> None:
    release = render(postgresql__enabled=False, database__existingSecret="rds")
    assert release.names("StatefulSet") == []
    assert release.names("Secret") == ["sentiment-read-token"]
    reference = {"secretKeyRef": {"name": "rds", "key": "uri"}}
    for name in ("migrate", "sentiment"):
        assert environment(container(release.deployment, name))["DATABASE_URL"] == reference


def test_one_from_elsewhere_without_its_secret_is_refused() -> None:
    assert "set database.existingSecret" in refusal(postgresql__enabled=False)


def test_the_chart_s_own_can_have_a_secret_that_the_operator_made() -> None:
    release = render(database__existingSecret="mine")
    assert "sentiment-database" not in release.names("Secret")
    volumes = pod_of(release.one("StatefulSet", "postgresql"))["volumes"]
    [password] = [each["secret"] for each in volumes if "secret" in each]
    assert password["secretName"] == "mine"
    assert environment(release.server)["DATABASE_URL"]["secretKeyRef"]["name"] == "mine"


def test_cloudnativepg_runs_it_where_that_is_asked_for() -> None:
    release = render(
        postgresql__cloudNativePG={"enabled": True, "instances": 2},
        postgresql__storage={"size": "20Gi", "storageClass": "fast"},
        postgresql__settings={"max_connections": 200},
    )
    assert release.names("StatefulSet") == []
    spec = release.one("Cluster", "postgresql")["spec"]
    assert spec["instances"] == 2
    assert spec["bootstrap"]["initdb"]["database"] == "ai_db"
    assert spec["bootstrap"]["initdb"]["owner"] == "user"
    assert spec["storage"] == {"size": "20Gi", "storageClass": "fast"}
    assert spec["postgresql"]["parameters"]["max_connections"] == "200"


def test_cloudnativepg_s_secret_and_pods_are_the_ones_that_it_makes() -> None:
    release = render(postgresql__cloudNativePG__enabled=True)
    reference = environment(release.server)["DATABASE_URL"]["secretKeyRef"]
    assert reference == {"name": "postgresql-app", "key": "uri"}
    egress = release.one("NetworkPolicy", "sentiment-network")["spec"]["egress"]
    peer = {"podSelector": {"matchLabels": {"cnpg.io/cluster": "postgresql"}}}
    assert {"ports": [{"port": 5432}], "to": [peer]} in egress


def test_uninstalling_keeps_cloudnativepg_s_data() -> None:
    cluster = render(postgresql__cloudNativePG__enabled=True).one("Cluster", "postgresql")
    assert cluster["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
