"""Every command of docs/log.md is run, in order, and answers as the page says."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .serving import RunningServer, environment, running_server
from .test_readme import ROOT, assert_alike

PAGE = (ROOT / "docs/log.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```(?:\n```json\n(.*?)\n```)?", PAGE, re.DOTALL)


@pytest.fixture
def empty(data_dir: Path) -> Iterator[RunningServer]:
    """A server of the test's own, whose log is empty."""
    with running_server(data_dir) as server:
        yield server


def without_what_is_left_out(found: object, promised: object) -> object:
    """The answer with `["..."]` where the page has that."""
    match found, promised:
        case list(), ["..."]:
            return ["..."]
        case dict(), dict():
            return {
                name: without_what_is_left_out(value, promised.get(name))
                for name, value in found.items()
            }
        case _:
            return found


def test_every_command_of_the_page_answers_as_it_says(
    empty: RunningServer, data_dir: Path, tmp_path: Path
) -> None:
    given = environment({"SENTIMENT_DATA_DIR": str(data_dir), "ID": ""})

    def run(command: str) -> str:
        command = command.replace("http://127.0.0.1:8000", empty.url)
        command = command.replace(".venv/bin/", f"{ROOT}/.venv/bin/")
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=given, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    (first, _), *blocks = BLOCKS
    given["ID"] = json.loads(run(first))["predictions"][1]["id"]
    assert len(blocks) == 6
    for commands, promised in blocks:
        for command in commands.splitlines():
            answer = run(command)
            assert answer
            if promised:
                expected = json.loads(promised)
                assert_alike(without_what_is_left_out(json.loads(answer), expected), expected)
    assert (tmp_path / "log.parquet").exists()
    assert (tmp_path / "unsure.csv").read_text().count("lovely") == 1
