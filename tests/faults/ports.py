"""Ports that stay ours while nobody listens on them."""

import random
import socket

BELOW_OUTGOING = range(20_000, 32_000)


def quiet_port() -> int:
    """A free port on the loopback address that the kernel gives to no outgoing connection: such a
    connection would take the port of a program that is just being started again, or even reach
    itself there."""
    while True:
        port = random.choice(BELOW_OUTGOING)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
