"""Throughput on an empty log and on one of many rows.

Two databases of one PostgreSQL, a server each, of which one is loaded at a time, by turns: the
ratio is of neighbours in time.
"""

import argparse
import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from sentiment_k8s.database import Database
from sentiment_k8s.migrations import upgrade

from .. import report, servers, texts
from ..fill import Traffic, execute, fetch, fill
from ..loads import Measured
from ..rows import sentences
from ..stage import Stage
from .loaded import middle

EMPTY, FULL = "empty", "full"
SHARES = 10  # a tenth of the rows at each end go in by the server's own INSERT, as in `bench.log`
PATIENCE_SECONDS = 120.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of this question."""
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=75, help="over which they are spread")


def measure(here: Stage, options: argparse.Namespace) -> dict[str, Any]:
    """Fill one database, then rounds of the same load on both."""
    addresses = {
        name: urlunsplit(urlsplit(here.database_url)._replace(path=f"/log_{name}"))
        for name in (EMPTY, FULL)
    }
    started = time.perf_counter()
    asyncio.run(_prepare(here, addresses, options))
    filled = time.perf_counter() - started
    requests = servers.post_requests(here.sentences)
    found: dict[str, dict[str, list[Measured]]] = {name: {"1": [], "64": []} for name in addresses}
    with _server(here, EMPTY, addresses) as empty, _server(here, FULL, addresses) as full:
        both = {EMPTY: empty, FULL: full}
        for number in range(options.rounds):
            for clients in ("1", "64"):
                for name in sorted(both, reverse=bool(number % 2)):
                    found[name][clients].append(
                        here.loader.closed(both[name], requests, int(clients))
                    )
    return {
        "rows": {name: asyncio.run(_rows(address)) for name, address in addresses.items()},
        "filled": options.rows,
        "fill_seconds": filled,
        "loads": {
            name: {clients: [one.as_dict() for one in each] for clients, each in loads.items()}
            for name, loads in found.items()
        },
    }


def described(result: Mapping[str, Any]) -> str:
    """The result as Markdown."""
    rows = []
    for clients in ("1", "64"):
        for name, loads in result["loads"].items():
            several = loads[clients]
            ratios = [
                one["texts_a_second"] / other["texts_a_second"]
                for one, other in zip(several, result["loads"][EMPTY][clients], strict=True)
            ]
            rows.append(
                {
                    "log": f"{0 if name == EMPTY else result['filled']:,} rows at the start",
                    "clients": clients,
                    "texts/s": report.spread([one["texts_a_second"] for one in several], 1),
                    "over the empty one": report.spread(ratios, 3),
                    "p50 ms": middle(several, "p50"),
                    "p99 ms": middle(several, "p99"),
                    "PostgreSQL CPU ms a text": f"{middle(several, 'postgres_cpu'):.3f}",
                    "errors": sum(one["errors"] for one in several),
                }
            )
    return (
        f"Rows at the end: {result['rows'][EMPTY]:,} and {result['rows'][FULL]:,}; "
        f"filled in {result['fill_seconds']:.0f} s.\n\n{report.table(rows)}"
    )


def panels(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Texts a second against rows, two points each."""
    counts = [0, result["filled"]]
    names = (EMPTY, FULL)
    return [
        {
            "x": "rows in the log at the start",
            "y": "texts/s",
            "title": "Throughput",
            "ticks": counts,
            "lines": [
                {
                    "name": f"{clients} clients" if clients != "1" else "1 client",
                    "x": counts,
                    "y": [
                        middle(result["loads"][name][clients], "texts_a_second") for name in names
                    ],
                }
                for clients in ("64", "1")
            ],
        }
    ]


async def _prepare(here: Stage, addresses: Mapping[str, str], options: argparse.Namespace) -> None:
    for address in addresses.values():
        await execute(here.database_url, f"CREATE DATABASE {urlsplit(address).path[1:]}")
        await upgrade(address)
    if not options.rows:
        return
    dsn, end = addresses[FULL], datetime.now(UTC)
    traffic = Traffic(end - timedelta(days=options.days), end, SHARES, options.rows // SHARES)
    corpus = sentences(options.sst2 or texts.sst2_folder())
    database = Database(dsn, write_seconds=PATIENCE_SECONDS, read_seconds=PATIENCE_SECONDS)
    try:
        await fill(dsn, database, traffic, corpus)
    finally:
        await database.close()
    await execute(dsn, "VACUUM (ANALYZE) predictions")


async def _rows(address: str) -> int:
    [row] = await fetch(address, "SELECT count(*) FROM predictions")
    return int(row[0])


def _server(here: Stage, name: str, addresses: Mapping[str, str]) -> servers.Server:
    return servers.ours(
        here.model,
        addresses[name],
        here.server_cores,
        record="required",
        spool=here.scratch / f"spool-{name}",
        log=here.logs / f"growth-rows-{name}.log",
    )
