"""Us and the peers, side by side, same cores, texts, weights and client: `python -m bench.compare`.

Each server is started as its adapter says (peers/), pinned to its cores, and loaded while no other
is; client and PostgreSQL have the other cores. A round measures every scenario on every server,
each scenario on one server after the other, in an order that turns with the round. A server that
uses CPU time while nobody asks it anything is only started for its own turns.
"""

import argparse
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from . import machine, peers, report, stage, tables, weights
from .loads import Loader, NoAnswers, Task, task, turns
from .peers.peer import Peer, Setting, Unavailable
from .reference import Reference, reference
from .scenarios import CAPACITY, HALF, SAME, SAME_RATE, SCENARIOS, Scenario, texts_of
from .servers import Listening, NotStarted, Target
from .stage import Stage
from .wire import Wire, named

IDLE_SECONDS = 1.0
IDLE_SHARE = 0.03  # of a core, above which a server is not left running beside others
QUICK = {"rounds": 1, "seconds": 2.0, "warm_up": 0.5, "starts": 1}


@dataclass(slots=True)
class Contender:
    """A peer in this run, and what was seen of it besides the loads."""

    peer: Peer
    setting: Setting
    reason: str | None = None  # why it is not measured
    start_seconds: list[float] = field(default_factory=list)
    idle_share: float | None = None
    strayed: int = 0
    version: str | None = None

    @contextmanager
    def running(self) -> Iterator[Target]:
        """Started, held on its cores, and stopped in the end."""
        server = self.peer.server(self.setting)
        try:
            server.start()
            if not math.isnan(server.start_seconds):
                self.start_seconds.append(server.start_seconds)
            self.strayed = max(self.strayed, server.hold())
            yield server
        finally:
            server.stop()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = _options(arguments)
    chosen = _peers(options)
    with stage.staged(options) as here:
        result = measure(here, options, chosen)
    report.save(options.json, result)
    print(tables.described(result))


def measure(here: Stage, options: argparse.Namespace, chosen: Sequence[Peer]) -> dict[str, Any]:
    """All rounds.

    Returns:
        Facts of the machine and of each peer, and by scenario and peer what each round showed.
    """
    scenarios = [SCENARIOS[name] for name in SCENARIOS if name in options.scenarios]
    folders = _folders(options)
    texts, right = _right(here, folders)
    loader = Loader(
        [],
        warm_up=options.warm_up,
        seconds=options.seconds,
        postgres=here.postgres,
        clear=right.error,
        cores=here.server_cores,
    )
    contenders = {peer.name: _contender(here, peer, folders) for peer in chosen}
    rounds = Rounds(loader, scenarios, texts, right)
    with ExitStack() as running:
        together: dict[str, Target] = {}
        for name, contender in contenders.items():
            if server := _prepared(contender, options.starts, running):
                together[name] = server
        alone = [name for name in contenders if name not in together]
        for names in turns(list(contenders), options.rounds):
            blocks = [[name] for name in names if name in alone]
            blocks.append([name for name in names if name in together])
            for block in blocks if names[0] == next(iter(contenders)) else reversed(blocks):
                rounds.block({name: contenders[name] for name in block}, together)
    return {
        "what": "compare",
        "machine": machine.facts(),
        "described": machine.described(),
        "stolen_share": here.stolen.share(),
        "cores": [here.server_cores, options.client_cores],
        "rounds": options.rounds,
        "seconds": options.seconds,
        "weights": {name: folder.name for name, folder in folders.items()},
        "quantisation_error": right.error,
        "texts": {kind: len(each) for kind, each in texts.items()},
        "scenarios": {one.name: one.what for one in scenarios},
        "peers": {
            name: {
                "precision": one.peer.precision,
                "settings": one.peer.settings,
                "version": one.version,
                "reason": one.reason,
                "start_seconds": one.start_seconds,
                "idle_share": one.idle_share,
                "alone": name in alone,
                "strayed_threads": one.strayed,
            }
            for name, one in contenders.items()
        },
        "loads": rounds.loads,
    }


class Rounds:
    """What has been measured so far.

    Attributes:
        loads: by scenario and peer, a list of what each round showed: a `Measured` as a
            dictionary, or `{"reason": ...}` where there is none.
    """

    def __init__(
        self,
        loader: Loader,
        scenarios: Sequence[Scenario],
        texts: Mapping[str, Sequence[str]],
        right: Reference,
    ) -> None:
        self._loader = loader
        self._scenarios = scenarios
        self._texts = texts
        self._right = right
        self._capacity: dict[str, float] = {}
        self.loads: dict[str, dict[str, list[dict[str, Any]]]] = {one.name: {} for one in scenarios}

    def block(self, contenders: Mapping[str, Contender], together: Mapping[str, Target]) -> None:
        """Every scenario on some servers; those that do not run already run for just that."""
        servers = dict(together)
        with ExitStack() as running:
            for name, contender in contenders.items():
                if name in together or contender.reason:
                    continue
                try:
                    servers[name] = running.enter_context(contender.running())
                except (NotStarted, Unavailable) as error:
                    contender.reason = str(error)
            for scenario in self._scenarios:
                for name, contender in contenders.items():
                    if contender.reason or (scenario.batch > 1 and not contender.peer.wire.batches):
                        continue
                    measured = self._measured(scenario, contender, servers[name])
                    self.loads[scenario.name].setdefault(name, []).append(measured)

    def _measured(self, scenario: Scenario, contender: Contender, server: Target) -> dict[str, Any]:
        name, given = contender.peer.name, self._task(scenario, contender.peer)
        try:
            if not server.alive():
                return {"reason": "it has ended by itself"}
            if scenario.name == HALF:
                if not (capacity := self._capacity.get(name)):
                    return {"reason": "what it can do at most is not known"}
                return self._loader.open(server, given, capacity / 2).as_dict()
            if scenario.name == SAME:
                return self._loader.open(server, given, SAME_RATE).as_dict()
            measured = self._loader.closed(server, given, scenario.clients)
        except NoAnswers as error:
            return {"reason": str(error)}
        if scenario.name == CAPACITY:
            self._capacity[name] = measured.texts_a_second
        return measured.as_dict()

    def _task(self, scenario: Scenario, peer: Peer) -> Task:
        kind = scenario.texts
        return task(peer.wire, self._texts[kind], self._right.right[kind], scenario.batch)


def _prepared(contender: Contender, starts: int, running: ExitStack) -> Target | None:
    """Install and start a contender, some times over, and look whether it is quiet.

    Returns:
        Its server, left running; None if it is to run alone, or cannot run.
    """
    try:
        contender.peer.install()
        contender.version = contender.peer.version()
        for _ in range(starts - 1):
            with contender.running():
                pass
        own = ExitStack()
        server = own.enter_context(contender.running())
    except (Unavailable, NotStarted) as error:
        contender.reason = str(error)
        return None
    with own:  # stops it unless it is kept
        before = server.cpu_seconds()
        time.sleep(IDLE_SECONDS)
        used = (server.cpu_seconds() - before) / IDLE_SECONDS
        contender.idle_share = None if math.isnan(used) else used
        if used > IDLE_SHARE:
            return None
        running.push(own.pop_all())
    return server


def _contender(here: Stage, peer: Peer, folders: Mapping[str, Path]) -> Contender:
    scratch = here.scratch / peer.name
    scratch.mkdir(exist_ok=True)
    return Contender(
        peer,
        Setting(
            cores=here.server_cores,
            database_url=here.database_url,
            scratch=scratch,
            log=(here.logs / f"{peer.name}.log").absolute(),
            **folders,
        ),
    )


def _folders(options: argparse.Namespace) -> dict[str, Path]:
    """Where the weights are: what the options say, else made from the bundled model."""
    given = {"checkpoint": options.checkpoint, "fp32": options.fp32}
    if not all(given.values()):
        made = weights.weights()
        given = {
            "checkpoint": given["checkpoint"] or made.checkpoint,
            "fp32": given["fp32"] or made.onnx,
        }
    int8 = weights.BUNDLED if options.model == "bundled" else Path(options.model)
    return {**given, "int8": int8}


def _right(here: Stage, folders: Mapping[str, Path]) -> tuple[Mapping[str, list[str]], Reference]:
    from sentiment_k8s.hub import find_model
    from sentiment_k8s.model import Model

    fp32, int8 = (Model(find_model(str(folders[name])), threads=1) for name in ("fp32", "int8"))
    texts = {kind: list(each) for kind, each in texts_of(here.sentences, int8.tokenizer).items()}
    return texts, reference(fp32, int8, texts)


def _peers(options: argparse.Namespace) -> list[Peer]:
    known = peers.known()
    if unknown := [name for name in options.peers or () if name not in known]:
        raise SystemExit(f"There is no peer {', '.join(unknown)}: say some of {', '.join(known)}.")
    chosen = list(known) if options.peers is None else options.peers
    return [known[name] for name in chosen] + _listening(options)


def _listening(options: argparse.Namespace) -> list[Peer]:
    """The servers of --peer, each with the --protocol and --peer-pid at its place; the last of
    these is for the rest, too."""
    protocols = options.protocol or ["tei"]
    found = []
    for at, given in enumerate(options.peer or ()):
        name, _, url = given.partition("=")
        parts = urlsplit(url)
        if not name or parts.scheme != "http" or not parts.hostname:
            raise SystemExit(f"--peer {given}: say NAME=http://HOST:PORT.")
        try:
            wire = named(protocols[min(at, len(protocols) - 1)])
        except ValueError as error:
            raise SystemExit(str(error)) from None
        pid = options.peer_pid[at] if at < len(options.peer_pid or ()) else None
        address = (parts.hostname, parts.port or 80)
        found.append(
            Peer(
                name=name,
                precision=options.peer_precision,
                wire=wire,
                settings="started by somebody else",
                install=lambda: None,
                server=partial(_listener, address, wire, pid),
            )
        )
    return found


def _listener(address: tuple[str, int], wire: Wire, pid: int | None, _: Setting) -> Listening:
    return Listening(address, wire, pid)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    stage.add_options(parser)
    parser.set_defaults(rounds=3, seconds=5.0, warm_up=1.0)
    parser.add_argument("--peers", nargs="*", metavar="NAME", help="which, all by default")
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--starts", type=int, default=2, help="of each server; the last counts")
    parser.add_argument("--quick", action="store_true", help="one round of 2 seconds each")
    parser.add_argument("--fp32", type=Path, metavar="DIR", help="ONNX folder of `make model`")
    parser.add_argument("--checkpoint", type=Path, metavar="DIR", help="the model in torch")
    parser.add_argument("--peer", action="append", metavar="NAME=URL", help="one that listens")
    parser.add_argument("--protocol", action="append", help="tei, v2:MODEL, infinity:MODEL, seed")
    parser.add_argument("--peer-pid", type=int, action="append", help="for memory and CPU time")
    parser.add_argument("--peer-precision", choices=("fp32", "int8"), default="fp32")
    options = parser.parse_args(arguments)
    if options.quick:
        vars(options).update(QUICK)
    if HALF in options.scenarios and CAPACITY not in options.scenarios:
        raise SystemExit(f"--scenarios {HALF} needs {CAPACITY} too, which says what half is.")
    return options


if __name__ == "__main__":
    main()
