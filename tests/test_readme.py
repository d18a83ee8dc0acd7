"""Every command of the README is run, and answers as the README says."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from .serving import environment

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CALLS = re.findall(r"```bash\n(curl [^\n]*)\n```\n```json\n(.*?)\n```", README, re.DOTALL)
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    # tests/e2e/test_01_book.py does what those for a cluster do.
    if not line.startswith(("curl", "make", "docker", "helm", "kubectl"))
]
# What differs from run to run, and by the machine.
PASSING = {"id", "created_at", "request_id", "next", "since", "until", "start"}
PASSING |= {"queue_seconds", "inference_seconds", "given_at", "engine"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that `make run` started, on a free port."""
    if shutil.which("make") is None:
        pytest.fail("make is missing: install it (on Debian or Ubuntu: apt-get install make).")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data_dir = str(tmp_path_factory.mktemp("made"))
    process = subprocess.Popen(
        ["make", "run", f"PORT={port}"],
        cwd=ROOT,
        env=environment({"SENTIMENT_DATA_DIR": data_dir}),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr
    said = []
    for line in process.stderr:
        said.append(line)
        if "Ready on" in line:
            break
    assert said, "make run said nothing"
    assert f"Ready on http://127.0.0.1:{port}" in said[-1], "".join(said)
    yield f"127.0.0.1:{port}"
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=30)


def run(command: str) -> str:
    done = subprocess.run(
        command, shell=True, cwd=ROOT, env=environment({}), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_alike(found: object, promised: object, where: str = "answer") -> None:
    """The same keys, texts and labels; scores to two digits; passing values of the same type."""
    match promised:
        case dict():
            assert isinstance(found, dict)
            assert list(found) == list(promised), where
            for key, value in promised.items():
                if key in PASSING:
                    assert type(found[key]) is type(value), f"{where}.{key}"
                else:
                    assert_alike(found[key], value, f"{where}.{key}")
        case list():
            assert isinstance(found, list)
            assert len(found) == len(promised), where
            for number, (one, other) in enumerate(zip(found, promised, strict=True)):
                assert_alike(one, other, f"{where}[{number}]")
        case float():
            assert found == pytest.approx(promised, abs=0.03), where  # engines round otherwise
        case _:
            assert found == promised, where


def test_make_run_serves_the_page_and_every_call_answers_as_printed(made: str) -> None:
    assert len(CALLS) == 5
    for command, promised in CALLS:
        found = json.loads(run(command.replace("127.0.0.1:8000", made)))
        assert_alike(found, json.loads(promised))
    assert "<html" in httpx.get(f"http://{made}/").text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_other_command_succeeds(command: str) -> None:
    assert run(command.replace(".venv/bin/", f"{ROOT}/.venv/bin/"))


def test_every_link_leads_to_a_file() -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
