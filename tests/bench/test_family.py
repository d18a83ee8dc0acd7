"""A server's processes as they are in the wild: with children, orphans, and written-over names."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.family import Family
from bench.servers import NotStarted, Server

# A server whose child has a child; the first child goes, so that the last one is an orphan.
FAMILY = """
import http.server, os, subprocess, sys, time
program = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]])"
orphan = "import os, time; open('orphan', 'w').write(str(os.getpid())); time.sleep(600)"
subprocess.run([sys.executable, "-c", program, orphan], check=True)
while not os.path.exists("orphan") or not open("orphan").read():
    time.sleep(0.01)
http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind="127.0.0.1")
"""


def waited(until: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not until() and time.monotonic() < deadline:
        time.sleep(0.02)
    return until()


@pytest.fixture
def family_server(tmp_path: Path) -> Iterator[Server]:
    server = Server(
        [sys.executable, "-c", FAMILY, "{port}"],
        cores=[0],
        ready="/",
        log=tmp_path / "log",
        folder=tmp_path,
    )
    with server:
        yield server


def test_an_orphan_belongs_to_the_family_and_ends_with_it(
    family_server: Server, tmp_path: Path
) -> None:
    orphan = int((tmp_path / "orphan").read_text())
    assert family_server.start_seconds > 0
    alone = Family("", family_server.pid).pids()
    assert alone == {family_server.pid}, "it is no descendant"
    assert os.sched_getaffinity(orphan) == {0}
    family_server.stop()
    assert not family_server.alive()
    assert waited(lambda: not Path(f"/proc/{orphan}").exists() or _is_zombie(orphan))


def test_memory_and_time_are_those_of_all(family_server: Server, tmp_path: Path) -> None:
    several = family_server.memory_mib()
    os.kill(int((tmp_path / "orphan").read_text()), 9)
    assert waited(lambda: family_server.memory_mib() != several)
    assert 5 < several < 500
    before = family_server.cpu_seconds()
    assert 0 < before < 60


def test_threads_that_pin_themselves_elsewhere_are_brought_back(family_server: Server) -> None:
    assert family_server.hold() == 0
    os.sched_setaffinity(family_server.pid, range(os.cpu_count() or 1))
    assert family_server.hold() == (1 if (os.cpu_count() or 1) > 1 else 0)
    assert os.sched_getaffinity(family_server.pid) == {0}


def test_a_child_is_known_by_its_parent_when_its_mark_is_gone() -> None:
    child = f"import subprocess; subprocess.run(['{sys.executable}', '-c', 'input()'], env={{}})"
    with subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE) as parent:
        family = Family("", parent.pid)
        assert waited(lambda: len(family.pids()) == 2)
        parent.kill()
        assert waited(lambda: len(family.pids()) == 1), "what is known is kept as an orphan"
        family.end()
        assert not family.pids()


def test_a_server_that_ends_at_once_says_where_its_words_are(tmp_path: Path) -> None:
    log = tmp_path / "log"
    server = Server([sys.executable, "-c", "raise SystemExit(3)"], cores=[0], ready="/", log=log)
    with pytest.raises(NotStarted, match=f"did not start: see {log}"):
        server.start()


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
