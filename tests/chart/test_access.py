"""Who reaches what: Service, Ingress, HTTPRoute, NetworkPolicy, read token."""

from .rendering import environment, refusal, render, run_helm


def test_the_service_is_the_book_s() -> None:
    spec = render().one("Service", "sentiment-service")["spec"]
    assert spec["type"] == "ClusterIP"
    assert spec["selector"] == {"app": "sentiment"}
    assert spec["ports"] == [{"name": "http", "port": 80, "targetPort": 8000}]


def test_the_service_s_port_is_a_value() -> None:
    release = render(servicePort=8080, ingress__enabled=True)
    assert release.one("Service", "sentiment-service")["spec"]["ports"][0]["port"] == 8080
    [rule] = release.one("Ingress", "sentiment-ingress")["spec"]["rules"]
    assert rule["http"]["paths"][0]["backend"]["service"]["port"]["number"] == 8080
    test = release.one("Pod", "sentiment-test")["spec"]["containers"][0]
    assert environment(test)["URL"] == "http://sentiment-service:8080"


def test_the_service_can_have_a_port_of_the_nodes() -> None:
    spec = render(service={"type": "NodePort", "nodePort": 30080}).one(
        "Service", "sentiment-service"
    )["spec"]
    assert spec["type"] == "NodePort"
    assert spec["ports"][0]["nodePort"] == 30080


def test_the_service_can_have_a_load_balancer() -> None:
    service = render(service={"type": "LoadBalancer", "annotations": {"cloud": "internal"}}).one(
        "Service", "sentiment-service"
    )
    assert service["spec"]["type"] == "LoadBalancer"
    assert "nodePort" not in service["spec"]["ports"][0]
    assert service["metadata"]["annotations"] == {"cloud": "internal"}


def test_a_port_of_the_nodes_is_no_matter_for_a_cluster_ip() -> None:
    spec = render(service__nodePort=30080).one("Service", "sentiment-service")["spec"]
    assert "nodePort" not in spec["ports"][0]


def test_there_is_no_ingress_and_no_route_unless_asked_for() -> None:
    release = render()
    assert release.names("Ingress") == release.names("HTTPRoute") == []


def test_the_ingress_is_the_book_s() -> None:
    ingress = render(ingress__enabled=True).one("Ingress", "sentiment-ingress")
    [rule] = ingress["spec"]["rules"]
    assert rule["host"] == "sentiment.local"
    [path] = rule["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/", "Prefix")
    assert path["backend"]["service"] == {"name": "sentiment-service", "port": {"number": 80}}
    assert not {"ingressClassName", "tls"} & set(ingress["spec"])


def test_the_ingress_has_the_class_and_annotations_that_are_asked_for() -> None:
    ingress = render(
        ingress={"enabled": True, "className": "contour", "annotations": {"a": "b"}}
    ).one("Ingress", "sentiment-ingress")
    assert ingress["spec"]["ingressClassName"] == "contour"
    assert ingress["metadata"]["annotations"] == {"a": "b"}


def test_the_ingress_serves_tls_by_a_secret() -> None:
    tls = {"enabled": True, "host": "a.example", "tls": {"enabled": True}}
    spec = render(ingress=tls).one("Ingress", "sentiment-ingress")["spec"]
    assert spec["tls"] == [{"hosts": ["a.example"], "secretName": "sentiment-tls"}]
    tls["tls"] = {"enabled": True, "secretName": "wildcard"}
    spec = render(ingress=tls).one("Ingress", "sentiment-ingress")["spec"]
    assert spec["tls"][0]["secretName"] == "wildcard"


def test_a_route_attaches_to_a_gateway() -> None:
    gateway = {"name": "contour", "namespace": "projectcontour"}
    route = render(
        httpRoute={"enabled": True, "parentRefs": [gateway], "annotations": {"a": "b"}}
    ).one("HTTPRoute", "sentiment-route")
    assert route["spec"]["parentRefs"] == [gateway]
    assert route["spec"]["hostnames"] == ["sentiment.local"]
    [rule] = route["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": "sentiment-service", "port": 80}]
    assert route["metadata"]["annotations"] == {"a": "b"}


def test_a_route_without_a_gateway_is_refused() -> None:
    assert "httpRoute.parentRefs is empty" in refusal(httpRoute__enabled=True)


def test_the_server_reaches_postgresql_and_dns_and_nothing_else() -> None:
    spec = render().one("NetworkPolicy", "sentiment-network")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    dns = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    postgresql = {"podSelector": {"matchLabels": {"app": "postgresql"}}}
    assert spec["egress"] == [{"ports": dns}, {"ports": [{"port": 5432}], "to": [postgresql]}]


def test_only_the_server_reaches_postgresql_which_reaches_nothing() -> None:
    spec = render().one("NetworkPolicy", "postgresql-network")["spec"]
    server = {"podSelector": {"matchLabels": {"app": "sentiment"}}}
    assert spec["ingress"] == [{"ports": [{"port": "postgresql"}], "from": [server]}]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["egress"] == []


def test_anyone_may_ask_and_the_cluster_s_pods_may_read_the_metrics() -> None:
    spec = render().one("NetworkPolicy", "sentiment-network")["spec"]
    assert spec["ingress"] == [
        {"ports": [{"port": "http"}]},
        {"ports": [{"port": "metrics"}], "from": [{"namespaceSelector": {}}]},
    ]


def test_who_may_ask_and_who_may_read_the_metrics_are_values() -> None:
    ingress = [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}]
    monitoring = [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]
    release = render(networkPolicy={"from": ingress, "metricsFrom": monitoring})
    rules = release.one("NetworkPolicy", "sentiment-network")["spec"]["ingress"]
    assert [rule["from"] for rule in rules] == [ingress, monitoring]


def test_an_external_database_is_reached_by_its_port_and_place() -> None:
    block = [{"ipBlock": {"cidr": "10.0.0.0/8"}}]
    release = render(
        postgresql__enabled=False,
        database={"existingSecret": "rds", "port": 6432},
        networkPolicy__databaseTo=block,
    )
    assert release.names("NetworkPolicy") == ["sentiment-network"]
    egress = release.one("NetworkPolicy", "sentiment-network")["spec"]["egress"]
    assert {"ports": [{"port": 6432}], "to": block} in egress


def test_the_pruning_pod_reaches_what_the_server_reaches_and_nobody_reaches_it() -> None:
    release = render(prune__enabled=True)
    server, prune, postgresql = (
        release.one("NetworkPolicy", f"{name}-network")["spec"]
        for name in ("sentiment", "sentiment-prune", "postgresql")
    )
    assert prune["egress"] == server["egress"]
    assert prune["ingress"] == []
    assert [
        peer["podSelector"]["matchLabels"]["app"] for peer in postgresql["ingress"][0]["from"]
    ] == [
        "sentiment",
        "sentiment-prune",
    ]


def test_further_egress_is_a_value() -> None:
    proxy = {"ports": [{"port": 3128}]}
    release = render(networkPolicy__extraEgress=[proxy])
    assert proxy in release.one("NetworkPolicy", "sentiment-network")["spec"]["egress"]


def test_policies_can_be_left_to_others() -> None:
    assert render(networkPolicy__enabled=False).names("NetworkPolicy") == []


def test_a_read_token_is_made_where_none_is_given() -> None:
    release = render()
    assert len(release.one("Secret", "sentiment-read-token")["stringData"]["token"]) == 32
    reference = {"secretKeyRef": {"name": "sentiment-read-token", "key": "token"}}
    assert environment(release.server)["SENTIMENT_READ_TOKEN"] == reference


def test_the_read_token_can_be_given_or_in_a_secret_of_the_operator_s() -> None:
    given = render(readToken__value="mine").one("Secret", "sentiment-read-token")
    assert given["stringData"]["token"] == "mine"
    release = render(readToken__existingSecret="theirs")
    assert release.names("Secret") == ["sentiment-database"]
    for variable, each in (
        ("SENTIMENT_READ_TOKEN", release.server),
        ("TOKEN", release.one("Pod", "sentiment-test")["spec"]["containers"][0]),
    ):
        assert environment(each)[variable]["secretKeyRef"]["name"] == "theirs"


def test_with_secrets_of_the_operator_s_every_rendering_is_the_same() -> None:
    """As Argo CD needs, which would otherwise see a change that is none."""
    sets = {"database__existingSecret": "theirs", "readToken__existingSecret": "theirs-too"}
    once = render(**sets)
    run_helm.cache_clear()
    assert render(**sets) == once


def test_the_test_pod_is_not_behind_the_service() -> None:
    pod = render().one("Pod", "sentiment-test")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert pod["metadata"]["labels"]["app"] != "sentiment"
