"""What the scripts that load servers stand on: cores, texts, right answers, one PostgreSQL."""

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentiment_k8s.migrations import upgrade
from sentiment_k8s.postgres import EmbeddedPostgres

from . import machine, texts
from .loads import Loader
from .servers import Server, ours

RESULTS = Path("bench/results")


@dataclass(frozen=True, slots=True)
class Stage:
    """One run: the servers get `server_cores`; we, the client, and PostgreSQL get the others.
    `scratch` is a folder on the same disk as PostgreSQL's data; it goes with the stage."""

    model: str
    server_cores: list[int]
    sentences: list[str]
    postgres: EmbeddedPostgres
    database_url: str
    loader: Loader
    logs: Path
    scratch: Path
    stolen: machine.StolenTime

    def engine(self) -> float:
        """Texts a second of the bare engine on the servers' cores, now, in the server's own
        token budget sorted by length; in a process of its own."""
        [way] = engine(self.model, self.server_cores, "--rounds", "1", "--no-one")["ways"]
        return float(way["texts_a_second"][0])

    def server(
        self, name: str, *, record: str = "required", environment: Mapping[str, str] | None = None
    ) -> Server:
        """Ours, on the servers' cores and this PostgreSQL.

        Args:
            name: of its log.
            record: `required` or `off`.
            environment: more settings.
        """
        return ours(
            self.model,
            self.database_url,
            self.server_cores,
            record=record,
            spool=self.scratch / "spool",
            log=self.logs / f"{name}.log",
            environment=environment,
        )


def engine(model: str, cores: Sequence[int], *flags: str) -> dict[str, Any]:
    """What `bench.engine` measures at the server's own token budget, in a process of its own:
    OpenBLAS is pinned before it is loaded.

    Args:
        model: in int8.
        cores: that it may use.
        flags: more of its command line.
    """
    with tempfile.NamedTemporaryFile(suffix=".json") as result:
        command = [sys.executable, "-m", "bench.engine", "--int8", model]
        command += ["--cores", ",".join(map(str, cores)), "--budgets", "512"]
        subprocess.run(
            [*command, *flags, "--json", result.name], check=True, stdout=subprocess.DEVNULL
        )
        measured: dict[str, Any] = json.loads(Path(result.name).read_text())
        return measured


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that these scripts share."""
    parser.add_argument("--model", default="bundled", help="model folder, or bundled")
    parser.add_argument("--server-cores", type=machine.parse_cores, default=[0])
    parser.add_argument("--client-cores", type=machine.parse_cores, default=[1])
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--warm-up", type=float, default=2.0, help="seconds before each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sst2", type=Path, metavar="DIR", help="folder with dev.tsv")
    parser.add_argument("--json", type=Path, metavar="PATH")


@contextmanager
def staged(options: argparse.Namespace) -> Iterator[Stage]:
    """Everything but the servers, ready."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    before = signal.signal(signal.SIGTERM, _end)  # or the servers would stay
    sentences = texts.dev_sentences(options.sst2 or texts.sst2_folder())
    machine.cache().mkdir(parents=True, exist_ok=True)
    data = Path(tempfile.mkdtemp(prefix="postgres-", dir=machine.cache()))
    try:
        with machine.pinned(options.client_cores), EmbeddedPostgres(data) as postgres:
            database_url = postgres.start()
            asyncio.run(upgrade(database_url))  # as the chart's init container, not the server
            yield Stage(
                model=options.model,
                server_cores=options.server_cores,
                sentences=sentences,
                postgres=postgres,
                database_url=database_url,
                loader=Loader(
                    right_labels(options.model, sentences),
                    warm_up=options.warm_up,
                    seconds=options.seconds,
                    postgres=postgres,
                ),
                logs=RESULTS / "logs",
                scratch=data,
                stolen=machine.StolenTime([*options.server_cores, *options.client_cores]),
            )
    finally:
        shutil.rmtree(data)
        signal.signal(signal.SIGTERM, before)


def _end(*_: object) -> None:
    raise SystemExit("Stopped by SIGTERM.")


def right_labels(model: str, sentences: list[str]) -> list[str]:
    """What the bare engine answers, one text at a time."""
    from sentiment_k8s.hub import find_model
    from sentiment_k8s.model import Model

    loaded = Model(find_model(model), threads=1)
    logits = (loaded.run([tokens]) for tokens in loaded.tokenizer.encode(sentences))
    return [loaded.info.labels[int(one.argmax())] for one in logits]
