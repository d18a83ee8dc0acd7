"""The log while PostgreSQL is away, and when it is back: `python -m bench.away`."""

import argparse
import http.client
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

from sentiment_k8s.metrics import Metrics
from sentiment_k8s.spool import Spool
from sentiment_k8s.testing import example_row

from . import machine, report, servers, stage
from .service import row
from .stage import Stage

NOBODY = "postgresql://nobody@127.0.0.1:1/nothing"  # refuses at once, as a Service without a pod
GROUP_ROWS = 64
POLL_SECONDS = 0.02


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.away", description=__doc__)
    stage.add_options(parser)
    parser.add_argument("--rows", type=int, default=100_000, help="in the spool, to be drained")
    options = parser.parse_args()
    with stage.staged(options) as here:
        result = measure(here, options)
    print(described(result))
    report.save(options.json, result)


def measure(here: Stage, options: argparse.Namespace) -> dict[str, Any]:
    """Rounds of the same load with PostgreSQL there and away, by turns; then the drain, alone and
    under load."""
    most = max(options.connections)
    requests = servers.post_requests(here.sentences)
    sides: dict[str, list[dict[str, Any]]] = {"there": [], "away": []}
    with (
        _server(here, "there", here.database_url) as there,
        _server(here, "away", NOBODY) as away,
    ):
        both = {"there": there, "away": away}
        for number in range(options.rounds):
            for name in sorted(both, reverse=bool(number % 2)):
                sides[name].append(asdict(here.loader.closed(both[name], requests, most)))
    shutil.rmtree(here.scratch / "away")  # the next server has a spool of its own
    rates = {name: [one["texts_a_second"] for one in rounds] for name, rounds in sides.items()}
    return {
        "described": machine.described(),
        "stolen_share": here.stolen.share(),
        "connections": most,
        "loads": sides,
        "away_over_there": [
            one / other for one, other in zip(rates["away"], rates["there"], strict=True)
        ],
        "drain_rows": options.rows,
        **drain(here, options.rows, requests, most),
    }


def drain(here: Stage, rows: int, requests: list[bytes], most: int) -> dict[str, Any]:
    """Seconds from PostgreSQL's return to an empty spool, without load and under a closed loop."""
    seconds = {}
    for name in ("alone", "loaded"):
        size = fill(here, name, rows)
        here.postgres.stop()
        with _server(here, name, here.database_url) as server, ThreadPoolExecutor(1) as watcher:
            here.postgres.start()
            empty = watcher.submit(_seconds_to_empty, server)
            if name == "loaded":
                load = here.loader.closed(server, requests, most)
            seconds[name] = empty.result()
    return {"drain_seconds": seconds, "bytes_a_row": size / rows, "drain_load": asdict(load)}


def fill(here: Stage, name: str, rows: int) -> int:
    """A spool as a server leaves it, of this many rows; how many bytes it has."""
    spool = Spool(here.scratch / name, 2**40, Metrics())
    texts = here.sentences
    for first in range(0, rows, GROUP_ROWS):
        count = min(GROUP_ROWS, rows - first)
        group = [example_row(texts[(first + place) % len(texts)]) for place in range(count)]
        spool.append([replace(one, request_id=one.id.hex) for one in group])
    size = spool.size
    spool.close()
    return size


def described(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    clients = result["connections"]
    loads = [row(f"PostgreSQL {name}", rounds) for name, rounds in result["loads"].items()]
    loads.append(row("PostgreSQL back, spool draining", [result["drain_load"]]))
    seconds = result["drain_seconds"]
    return "\n".join(
        [
            f"Machine: {result['described']}; stolen {result['stolen_share']:.1%}.",
            f"{clients} clients, single texts of SST-2 dev by POST.",
            "",
            report.table(loads),
            "",
            f"- throughput with PostgreSQL away over there: "
            f"{report.spread(result['away_over_there'], 3)}",
            f"- {result['drain_rows']} rows ({result['bytes_a_row']:.0f} bytes each), from "
            f"PostgreSQL's start to an empty spool: {seconds['alone']:.1f} s without load, "
            f"{seconds['loaded']:.1f} s beside {clients} clients",
        ]
    )


def _server(here: Stage, name: str, database_url: str) -> servers.Server:
    return servers.ours(
        here.model,
        database_url,
        here.server_cores,
        record="required",
        spool=here.scratch / name,
        log=here.logs / f"server-{name}.log",
    )


def _seconds_to_empty(server: servers.Server) -> float:
    started = time.perf_counter()
    while _spooled(server):
        time.sleep(POLL_SECONDS)
    return time.perf_counter() - started


def _spooled(server: servers.Server) -> int:
    connection = http.client.HTTPConnection(*server.address, timeout=30)
    try:
        connection.request("GET", "/health")
        health = json.loads(connection.getresponse().read())
        return int(health["record"]["spool"]["rows"])
    finally:
        connection.close()


if __name__ == "__main__":
    main()
