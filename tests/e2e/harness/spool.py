"""The rows that wait in pods while PostgreSQL is away, as their `/health` says."""

from typing import Any

import httpx

from .namespace import Namespace, Object
from .waiting import wait_until

PORT = 8000


def spool_of(pod: Object) -> dict[str, Any]:
    """What a pod says of its spool; this machine reaches it because it is the node."""
    health = httpx.get(f"http://{pod['status']['podIP']}:{PORT}/health", timeout=10).json()
    found: dict[str, Any] = health["record"]["spool"]
    return found


def waiting(namespace: Namespace, what: str = "rows") -> int:
    """Rows, or bytes, in the spools of all pods that nobody has asked to go."""
    return sum(spool_of(pod)[what] for pod in namespace.pods())


def wait_until_rows_wait(pod: Object) -> None:
    wait_until("rows in the spool", lambda: spool_of(pod)["rows"], seconds=60)


def wait_until_drained(namespace: Namespace, *, seconds: float = 120) -> None:
    wait_until("empty spools", lambda: waiting(namespace) == 0, seconds=seconds)
