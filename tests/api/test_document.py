"""The OpenAPI document against the server that it describes, by schemathesis.

What it generates is the same in each run. Not asked: that all which the document allows is
accepted, since a schema cannot say that a text needs a visible character.
"""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from ..serving import running_server

CASES = 40  # of each operation

CONFIGURATION = """
warnings = false

[[operations]]
include-path-regex = "/predictions/{{id}}"
parameters = {{ id = "{id}" }}

[[operations]]
include-path-regex = "/v2/models/{{name}}"
parameters = {{ name = "bundled", version = "{version}" }}
"""


@pytest.mark.timeout(600)
def test_the_server_does_what_its_document_says(data_dir: Path, tmp_path: Path) -> None:
    with running_server(data_dir, "--access-log", "off") as server:
        answer = httpx.get(f"{server.url}/predict", params={"text": "I love AI!"})
        version = httpx.get(f"{server.url}/health").json()["model"]["revision"]
        configuration = tmp_path / "schemathesis.toml"
        configuration.write_text(CONFIGURATION.format(id=answer.json()["id"], version=version))
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration)),
            *("run", f"{server.url}/openapi.json", "--no-color", "--continue-on-failure"),
            *("--phases", "coverage,fuzzing", "--exclude-checks", "positive_data_acceptance"),
            *("--generation-deterministic", "--max-examples", str(CASES)),
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
