"""A request with an Idempotency-Key, the same again, and one without: `python -m bench.keys`."""

import argparse
import http.client
import json
import time
from typing import Any

from . import machine, report, stage
from .stage import Stage

WITHOUT, FRESH, AGAIN = "without a key", "with a new key", "the same again"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.keys", description=__doc__)
    stage.add_options(parser)
    parser.add_argument("--requests", type=int, default=1000, help="of each kind, by turns")
    options = parser.parse_args()
    with stage.staged(options) as here:
        result = measure(here, options.requests)
    print(described(result))
    report.save(options.json, result)


def measure(here: Stage, requests: int) -> dict[str, Any]:
    """Milliseconds of every request, one client, the three kinds by turns on one connection."""
    seconds: dict[str, list[float]] = {WITHOUT: [], FRESH: [], AGAIN: []}
    with here.server("server-keys") as server:
        connection = http.client.HTTPConnection(*server.address, timeout=30)
        connection.connect()
        for number in range(requests):
            text = here.sentences[number % len(here.sentences)]
            key = {"Idempotency-Key": f"bench-{number}"}
            _ask(connection, text, {}, seconds[WITHOUT])
            first = _ask(connection, text, key, seconds[FRESH])
            if _ask(connection, text, key, seconds[AGAIN]) != first:
                raise SystemExit("The same key had another answer.")
        connection.close()
    return {
        "described": machine.described(),
        "stolen_share": here.stolen.share(),
        "milliseconds": {kind: [1e3 * one for one in each] for kind, each in seconds.items()},
    }


def described(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    rows = [
        {"request": kind, **{f"p{at} ms": report.percentile(each, at) for at in (10, 50, 99)}}
        for kind, each in result["milliseconds"].items()
    ]
    return "\n".join(
        [
            f"Machine: {result['described']}; stolen {result['stolen_share']:.1%}.",
            "One client, one text of SST-2 dev a request.",
            "",
            report.table(rows),
        ]
    )


def _ask(
    connection: http.client.HTTPConnection, text: str, headers: dict[str, str], times: list[float]
) -> Any:
    body = json.dumps({"text": text})
    started = time.perf_counter()
    connection.request("POST", "/predict", body, headers)
    response = connection.getresponse()
    answer = response.read()
    times.append(time.perf_counter() - started)
    if response.status != 200:
        raise SystemExit(f"The server answered {response.status}.")
    return json.loads(answer)


if __name__ == "__main__":
    main()
