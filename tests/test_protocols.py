"""Every example of docs/protocols.md is run, and answers as it says."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .serving import RunningServer
from .test_readme import assert_alike, run

PAGE = (Path(__file__).parent.parent / "docs" / "protocols.md").read_text()
CALLS = re.findall(r"```bash\n(curl [^\n]*)\n```\n```json\n(.*?)\n```", PAGE, re.DOTALL)
PROGRAMS = re.findall(r"```python\n(.*?)```\n```text\n(.*?)```", PAGE, re.DOTALL)


def test_every_example_is_found() -> None:
    assert 2 * (len(CALLS) + len(PROGRAMS)) == len(re.findall("```[a-z]", PAGE)) == 10


@pytest.mark.parametrize(("command", "promised"), CALLS)
def test_a_call_answers_as_printed(server: RunningServer, command: str, promised: str) -> None:
    found = json.loads(run(command.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")))
    assert_alike(found, json.loads(promised))


@pytest.mark.parametrize(("program", "promised"), PROGRAMS)
def test_a_program_prints_as_printed(server: RunningServer, program: str, promised: str) -> None:
    code = program.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, promised), done.stderr
