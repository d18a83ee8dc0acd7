"""The service beside its own engine, and with its log on and off: `python -m bench.service`."""

import argparse
from dataclasses import asdict
from statistics import median
from typing import Any

from . import machine, report, servers, stage
from .loads import Measured
from .stage import Stage


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.service", description=__doc__)
    stage.add_options(parser)
    options = parser.parse_args()
    with stage.staged(options) as here:
        result = measure(here, options)
    print(described(result))
    report.save(options.json, result)


def measure(here: Stage, options: argparse.Namespace) -> dict[str, Any]:
    """All rounds: the engine, then the service at each number of clients with the log on, and at
    the greatest with the log off, before or after in turn; at last half the capacity, open loop."""
    requests = servers.post_requests(here.sentences)
    most = max(options.connections)
    engine: list[float] = []
    on: dict[int, list[Measured]] = {connections: [] for connections in options.connections}
    off: list[Measured] = []

    with (
        _server(here, "required") as recording,
        _server(here, "off") as silent,
    ):

        def measure_off() -> None:
            off.append(here.loader.closed(silent, requests, most))

        for number in range(options.rounds):
            engine.append(here.engine())
            if number % 2:
                measure_off()
            for connections in sorted(options.connections, reverse=bool(number % 2 == 0)):
                on[connections].append(here.loader.closed(recording, requests, connections))
                if connections == most and number % 2 == 0:
                    measure_off()
        capacity = median(one.texts_a_second for one in on[most])
        half = [here.loader.open(recording, requests, capacity / 2) for _ in range(options.rounds)]
        return {
            "described": machine.described(),
            "stolen_share": here.stolen.share(),
            "model": here.model,
            "cores": [here.server_cores, options.client_cores],
            "engine_texts_a_second": engine,
            "closed": {
                clients: [asdict(one) for one in several] for clients, several in on.items()
            },
            "log_off": list(map(asdict, off)),
            "half_load": list(map(asdict, half)),
            "share_of_engine": [
                one.texts_a_second / alone for one, alone in zip(on[most], engine, strict=True)
            ],
            "log_on_over_off": [
                one.texts_a_second / without.texts_a_second
                for one, without in zip(on[most], off, strict=True)
            ],
            "start_seconds": recording.start_seconds,
            "peak_rss_mib": recording.memory_mib(),
            "peak_rss_log_off_mib": silent.memory_mib(),
        }


def described(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    closed = {f"{clients}": several for clients, several in result["closed"].items()}
    most = max(closed, key=int)
    rows = [row(f"{clients} clients", several) for clients, several in closed.items()]
    rows.append(row(f"{most} clients, log off", result["log_off"]))
    rows.append(row("half load, open loop", result["half_load"]))
    return "\n".join(
        [
            f"Machine: {result['described']}; stolen {result['stolen_share']:.1%}.",
            f"Server on cores {result['cores'][0]}; client and PostgreSQL on {result['cores'][1]}; "
            f"single texts of SST-2 dev by POST; median of {len(result['log_off'])} rounds "
            "(least to greatest).",
            "",
            report.table(rows),
            "",
            f"- engine alone on the same cores: {report.spread(result['engine_texts_a_second'], 1)}"
            " texts/s",
            f"- service / engine at {most} clients: {report.spread(result['share_of_engine'])}",
            f"- log on / off at {most} clients: {report.spread(result['log_on_over_off'], 3)}",
            f"- peak RSS {result['peak_rss_mib']:.0f} MiB "
            f"({result['peak_rss_log_off_mib']:.0f} with the log off); "
            f"ready {result['start_seconds']:.2f} s after the start, migrations included",
        ]
    )


def row(name: str, several: list[dict[str, Any]]) -> dict[str, object]:
    """A line of the table from the rounds of one load."""

    def middle(field: str) -> float:
        return float(median(one[field] for one in several))

    answers = sum(one["answers"] for one in several)
    return {
        "load": name,
        "texts/s": report.spread([one["texts_a_second"] for one in several], 1),
        "p50 ms": middle("p50"),
        "p95 ms": middle("p95"),
        "p99 ms": middle("p99"),
        "server CPU ms a text": f"{middle('server_cpu'):.2f}",
        "server CPU": f"{middle('server_cpu_share'):.0%}",
        "client CPU": f"{middle('client_cpu_share'):.0%}",
        "PostgreSQL CPU ms a text": f"{middle('postgres_cpu'):.2f}",
        "errors": sum(one["errors"] for one in several),
        "other label than alone": f"{sum(one['other_labels'] for one in several)} of {answers}",
    }


def _server(here: Stage, record: str) -> servers.Server:
    return here.server(f"server-{record}", record=record)


if __name__ == "__main__":
    main()
