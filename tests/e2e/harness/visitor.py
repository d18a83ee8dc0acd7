"""A pod that knocks at doors, to see which ones a NetworkPolicy keeps shut."""

from .namespace import Namespace

KNOCK = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()
except TimeoutError:
    print("blocked")
except OSError as error:
    print(error)
else:
    print("open")
"""
WAIT = "import signal; signal.pause()"


class Visitor:
    """Python in the server's own image, with labels of the scenario's choice.

    Args:
        labels: of the pod; none for a stranger.
    """

    def __init__(self, namespace: Namespace, name: str, **labels: str) -> None:
        self._namespace = namespace
        self._name = name
        namespace.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "labels": labels},
                "spec": {
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 0,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 10001,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [
                        {
                            "name": "visitor",
                            "image": "sentiment-app:latest",
                            "imagePullPolicy": "IfNotPresent",
                            "command": ["python", "-c", WAIT],
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "capabilities": {"drop": ["ALL"]},
                            },
                        }
                    ],
                },
            }
        )
        namespace.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")

    def knock(self, host: str, port: int) -> str:
        """`open`, `blocked` where nothing comes back, or what the system says."""
        return knock(self._namespace, self._name, host, port)


def knock(namespace: Namespace, pod: str, host: str, port: int) -> str:
    """As `Visitor.knock`, from any pod that has Python."""
    words = ["exec", pod, "--", "python", "-c", KNOCK, host, str(port)]
    return namespace.kubectl(*words).strip()
