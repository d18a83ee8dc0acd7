"""How many pods there are, and how many may be away."""

from .rendering import refusal, render


def test_the_number_of_pods_is_fixed_unless_asked_otherwise() -> None:
    assert render().names("HorizontalPodAutoscaler") == []


def test_the_autoscaler_is_the_book_s() -> None:
    spec = render(autoscaling__enabled=True).one("HorizontalPodAutoscaler", "sentiment-hpa")["spec"]
    assert spec["scaleTargetRef"]["name"] == "sentiment-deployment"
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 10)
    [metric] = spec["metrics"]
    assert metric["resource"] == {
        "name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 80},
    }


def test_an_upgrade_does_not_reset_what_the_autoscaler_chose() -> None:
    assert "replicas" not in render(autoscaling__enabled=True).deployment["spec"]


def test_the_autoscaler_goes_up_at_once_and_down_slowly() -> None:
    release = render(autoscaling__enabled=True)
    behavior = release.one("HorizontalPodAutoscaler", "sentiment-hpa")["spec"]["behavior"]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 300
    assert behavior["scaleDown"]["policies"] == [
        {"type": "Percent", "value": 50, "periodSeconds": 60}
    ]


def test_the_autoscaler_s_bounds_and_pace_are_values() -> None:
    release = render(
        autoscaling={
            "enabled": True,
            "minReplicas": 1,
            "maxReplicas": 4,
            "targetCPUUtilizationPercentage": 60,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 15}},
        }
    )
    spec = release.one("HorizontalPodAutoscaler", "sentiment-hpa")["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 4)
    assert spec["metrics"][0]["resource"]["target"]["averageUtilization"] == 60
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 15
    assert spec["behavior"]["scaleUp"]["stabilizationWindowSeconds"] == 0


def test_an_autoscaler_with_crossed_bounds_is_refused() -> None:
    message = refusal(autoscaling={"enabled": True, "minReplicas": 5, "maxReplicas": 3})
    assert "autoscaling.minReplicas is more than autoscaling.maxReplicas" in message


def test_a_drain_takes_one_pod_at_a_time_and_passes_a_single_one() -> None:
    spec = render(replicas=1).one("PodDisruptionBudget", "sentiment-pdb")["spec"]
    assert spec["maxUnavailable"] == 1
    assert "minAvailable" not in spec
    assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert spec["selector"]["matchLabels"] == {"app": "sentiment"}


def test_the_disruption_budget_is_a_value() -> None:
    half = render(podDisruptionBudget__maxUnavailable="50%")
    assert half.one("PodDisruptionBudget", "sentiment-pdb")["spec"]["maxUnavailable"] == "50%"
    assert render(podDisruptionBudget__enabled=False).names("PodDisruptionBudget") == []
