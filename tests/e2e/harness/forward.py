"""`kubectl port-forward`, as the book types it."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from .namespace import Namespace
from .programs import kubectl


@contextmanager
def port_forward(namespace: Namespace, what: str, port: int) -> Iterator[str]:
    """Forward a free local port to one of a pod or a Service.

    Yields:
        The local address.
    """
    command = [kubectl(), "--namespace", namespace.name, "port-forward", what, f":{port}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stderr
    try:
        said = process.stdout.readline()  # Forwarding from 127.0.0.1:40001 -> 8000
        assert said.startswith("Forwarding from"), process.stderr.read()
        yield f"http://{said.split()[2]}"
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
