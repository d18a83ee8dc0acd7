"""A namespace of a scenario's own: its pods, its objects, its log, and what is left on failure."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from .programs import CommandFailed, kubectl, run
from .waiting import wait_until

Object = dict[str, Any]

# What Kubernetes itself keeps in every namespace.
ITS_OWN = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}
PASSING = ("events", "events.events.k8s.io", "pods.metrics.k8s.io")


class Namespace:
    """Every call is one of kubectl's, in this namespace."""

    def __init__(self, name: str) -> None:
        self.name = name

    def kubectl(self, *words: str, stdin: str | None = None, seconds: float = 120) -> str:
        return run(kubectl(), "--namespace", self.name, *words, stdin=stdin, seconds=seconds)

    def apply(self, manifest: Object) -> None:
        self.kubectl("apply", "--filename", "-", stdin=json.dumps(manifest))

    def get(self, kind: str, name: str) -> Object:
        found: Object = json.loads(self.kubectl("get", kind, name, "--output", "json"))
        return found

    def objects(self, kind: str, labels: str = "") -> list[Object]:
        words = ["get", kind, "--output", "json", *(["--selector", labels] if labels else [])]
        found: list[Object] = json.loads(self.kubectl(*words))["items"]
        return found

    def everything(self) -> list[tuple[str, str]]:
        """Kind and name of all objects, but for what Kubernetes itself keeps here."""
        kinds = self.kubectl("api-resources", "--namespaced", "--verbs=list", "--output=name")
        wanted = ",".join(kind for kind in kinds.split() if kind not in PASSING)
        found = ((one["kind"], one["metadata"]["name"]) for one in self.objects(wanted))
        return sorted(one for one in found if one not in ITS_OWN)

    def pods(self, labels: str = "app=sentiment") -> list[Object]:
        """Pods that nobody has asked to go."""
        return [pod for pod in self.objects("pods", labels) if not going(pod)]

    def wait_for_pods(
        self, number: int, labels: str = "app=sentiment", *, seconds: float = 180
    ) -> list[Object]:
        """Exactly so many pods, all ready."""

        def look() -> list[Object] | None:
            pods = self.pods(labels)
            return pods if len(pods) == number and all(map(ready, pods)) else None

        return wait_until(f"{number} ready pods {labels}", look, seconds=seconds) or []

    def owner(self, pod: str) -> str:
        """What made a pod, as kubectl names it."""
        [owner] = self.get("pod", pod)["metadata"]["ownerReferences"]
        return f"{owner['kind'].lower()}/{owner['name']}"

    def address(self, service: str) -> str:
        """A Service's cluster address, which this machine reaches because it is the node."""
        spec = self.get("service", service)["spec"]
        return f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}"

    def endpoints(self, service: str) -> list[str]:
        """Addresses of the pods that get a Service's traffic."""
        slices = self.objects("endpointslices", f"kubernetes.io/service-name={service}")
        return [
            endpoint["addresses"][0]
            for one in slices
            for endpoint in one.get("endpoints") or []
            if endpoint["conditions"]["ready"]
        ]

    def evict(self, pod: Object, *, seconds: float = 120) -> None:
        """As `kubectl drain` does: ask the Eviction API until the disruption budget lets it go."""
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name_of(pod), "namespace": self.name},
        }
        path = f"/api/v1/namespaces/{self.name}/pods/{name_of(pod)}/eviction"

        def ask() -> bool:
            try:
                self.kubectl("create", "--raw", path, "--filename", "-", stdin=json.dumps(eviction))
            except CommandFailed as refused:
                if "disruption budget" not in refused.said:
                    raise
                return False
            return True

        wait_until(f"eviction of {name_of(pod)}", ask, seconds=seconds)

    def evidence(self) -> str:
        """What somebody who looks into a failure types first."""
        said = [self._said("get", "all,pvc,ingress,networkpolicy", "--output", "wide")]
        said.append(self._said("get", "events", "--sort-by=.lastTimestamp"))
        for pod in self.objects("pods"):
            name = name_of(pod)
            said.append(f"{name}: {json.dumps(states(pod))}")
            logs = self._said("logs", name, "--all-containers", "--tail=5000", "--prefix")
            lines = logs.splitlines()
            said += [line for line in lines[:-15] if '"level": "error"' in line][:15]
            said += lines[-15:]
            if restarts(pod):
                said.append(self._said("logs", name, "--previous", "--tail=15", "--prefix"))
        return "\n".join(said)

    def _said(self, *words: str) -> str:
        try:
            return f"$ kubectl {' '.join(words)}\n{self.kubectl(*words)}"
        except CommandFailed as failed:
            return str(failed)


@contextmanager
def new_namespace(
    purpose: str, *, pod_security: str = "restricted", keep: bool = False
) -> Iterator[Namespace]:
    """A namespace that is gone afterwards.

    Args:
        pod_security: the level that admission enforces there.
        keep: leave it for somebody to look at.
    """
    namespace = Namespace(f"e2e-{purpose}-{secrets.token_hex(2)}")
    labels = {"pod-security.kubernetes.io/enforce": pod_security, "sentiment-e2e": "true"}
    metadata = {"name": namespace.name, "labels": labels}
    namespace.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    try:
        yield namespace
    finally:
        if not keep:
            run(kubectl(), "delete", "namespace", namespace.name, "--wait=false")
            # The next scenario needs the cores of its pods; the rest may take its time.
            wait_until("the end of its pods", lambda: not namespace.objects("pods"), seconds=180)


def name_of(one: Object) -> str:
    return str(one["metadata"]["name"])


def going(one: Object) -> bool:
    """Whether somebody has asked it to go."""
    return "deletionTimestamp" in one["metadata"]


def condition(one: Object, kind: str) -> Object:
    """A condition of an object, empty where it has none."""
    conditions = one.get("status", {}).get("conditions", [])
    return next((found for found in conditions if found["type"] == kind), {})


def ready(pod: Object) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def seconds_to_ready(pod: Object) -> float:
    """From a place on a node to the first yes of its readiness probe."""
    times = [condition(pod, kind)["lastTransitionTime"] for kind in ("PodScheduled", "Ready")]
    scheduled, ready = map(datetime.fromisoformat, times)
    return (ready - scheduled).total_seconds()


def statuses(pod: Object) -> list[Object]:
    """Of all containers, init containers first."""
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def states(pod: Object) -> dict[str, Object]:
    """The state of each container, and the last one if there was one before."""
    return {
        one["name"]: {"now": one.get("state"), "before": one.get("lastState")}
        for one in statuses(pod)
    }


def restarts(pod: Object) -> int:
    return sum(one["restartCount"] for one in statuses(pod))


def last_words(pod: Object) -> list[str]:
    """What containers that ended badly said in their termination message."""
    ended = [
        end
        for one in statuses(pod)
        for end in (
            one.get("state", {}).get("terminated"),
            one.get("lastState", {}).get("terminated"),
        )
    ]
    return [end.get("message", "") for end in ended if end and end["exitCode"]]
