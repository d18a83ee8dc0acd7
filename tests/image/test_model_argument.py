"""Another model baked in by --build-arg MODEL."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ..fake_hub import Repository, running_hub
from ..tiny_models import write_tiny_model
from .containers import docker, run_once, running_server

IMAGE = "sentiment-test-model"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def commit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Builds IMAGE with a model from a hub that is gone afterwards; the model's commit."""
    repository = Repository.of_folder(write_tiny_model(tmp_path_factory.mktemp("tiny")))
    with running_hub(tiny=repository) as hub:
        arguments = ("MODEL=acme/tiny", f"HF_ENDPOINT={hub.url}")
        options = [option for each in arguments for option in ("--build-arg", each)]
        build = [str(ROOT / "tools/image/build"), IMAGE, *options]
        done = subprocess.run(build, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    yield repository.commit
    docker("image", "rm", IMAGE)


def test_it_is_served_by_its_id_and_commit_without_the_hub(commit: str) -> None:
    with running_server(image=IMAGE) as (container, url):
        assert f"Model acme/tiny (revision {commit}" in container.said
        answer = httpx.get(f"{url}/predict", params={"text": "a good film"})
        assert answer.json()["prediction"] == "POSITIVE"


def test_it_is_loaded_without_a_network(commit: str) -> None:
    status, said = run_once("model", "show", image=IMAGE)
    assert status == 0, said
