"""Us and the book's first app, side by side, on the same core: `python -m bench.peers`."""

import argparse
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from . import machine, report, seed_app, servers, stage
from .loads import Measured
from .service import row
from .stage import Stage

OURS, BOOK = "ours", "book's app"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    stage.add_options(parser)
    parser.set_defaults(connections=[1, 64])
    parser.add_argument(
        "--checkpoint", type=Path, required=True, metavar="DIR", help="the model in torch"
    )
    parser.add_argument(
        "--torch-from", type=Path, metavar="VENV", help="an environment that has torch already"
    )
    options = parser.parse_args()
    python = seed_app.environment(options.torch_from)
    with stage.staged(options) as here:
        result = measure(here, options, python)
    print(described(result))
    report.save(options.json, result)


def measure(here: Stage, options: argparse.Namespace, python: Path) -> dict[str, Any]:
    """All rounds: each number of clients on one server and then on the other, which of them
    first by turns."""
    address = seed_app.prepare_database(here.database_url)
    book = seed_app.server(
        python, options.checkpoint, address, here.server_cores, here.logs / "seed-app.log"
    )
    ours = servers.ours(
        here.model,
        here.database_url,
        here.server_cores,
        record="required",
        spool=here.scratch / "spool",
        log=here.logs / "peer-ours.log",
    )
    requests = {
        OURS: servers.post_requests(here.sentences),
        BOOK: servers.get_requests(here.sentences),
    }
    with ours, book:
        both = {OURS: ours, BOOK: book}
        measured: dict[str, dict[int, list[Measured]]] = {
            name: {clients: [] for clients in options.connections} for name in both
        }
        for number in range(options.rounds):
            for clients in options.connections:
                for name in sorted(both, reverse=bool(number % 2)):
                    measured[name][clients].append(
                        here.loader.closed(both[name], requests[name], clients)
                    )
        return {
            "described": machine.described(),
            "stolen_share": here.stolen.share(),
            "cores": [here.server_cores, options.client_cores],
            "checkpoint": str(options.checkpoint),
            "model": here.model,
            "rounds": options.rounds,
            "closed": {
                name: {clients: list(map(asdict, several)) for clients, several in loads.items()}
                for name, loads in measured.items()
            },
            "times_faster": {
                clients: [
                    one.texts_a_second / other.texts_a_second
                    for one, other in zip(
                        measured[OURS][clients], measured[BOOK][clients], strict=True
                    )
                ]
                for clients in options.connections
            },
            "peak_rss_mib": {name: each.peak_rss_mib() for name, each in both.items()},
            "start_seconds": {name: each.start_seconds for name, each in both.items()},
        }


def described(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    rows = [
        row(f"{name}, {clients} clients", several)
        for name, loads in result["closed"].items()
        for clients, several in loads.items()
    ]
    memory, start = result["peak_rss_mib"], result["start_seconds"]
    faster = [
        f"- times as fast at {clients} clients: {report.spread(ratios, 1)}"
        for clients, ratios in result["times_faster"].items()
    ]
    latency = [
        f"- p99 of the book's app over ours at {clients} clients: "
        f"{_middle(result, BOOK, clients) / _middle(result, OURS, clients):.1f}"
        for clients in result["times_faster"]
    ]
    return "\n".join(
        [
            f"Machine: {result['described']}; stolen {result['stolen_share']:.1%}.",
            f"Each server on cores {result['cores'][0]}; client and PostgreSQL on "
            f"{result['cores'][1]}; {result['rounds']} rounds, in turn.",
            "",
            report.table(rows),
            "",
            *faster,
            *latency,
            f"- peak RSS {memory[OURS]:.0f} MiB against {memory[BOOK]:.0f}: "
            f"{memory[OURS] / memory[BOOK]:.2f} of it",
            f"- ready after {start[OURS]:.1f} s against {start[BOOK]:.1f}",
        ]
    )


def _middle(result: dict[str, Any], name: str, clients: object) -> float:
    return median(one["p99"] for one in result["closed"][name][clients])


if __name__ == "__main__":
    main()
