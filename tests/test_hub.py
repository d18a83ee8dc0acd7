import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from sentiment_k8s.errors import ModelError
from sentiment_k8s.hub import ModelFiles, choose_onnx, find_model
from sentiment_k8s.model import Model

from .fake_hub import FakeHub, Repository, running_hub
from .tiny_models import write_tiny_model

# In a process of its own, as huggingface_hub reads HF_ENDPOINT and HF_HOME when it is imported.
FIND_MODEL = """
import json, sys
from sentiment_k8s.errors import ModelError
from sentiment_k8s.hub import find_model
try:
    files = find_model(*json.loads(sys.argv[1]))
except ModelError as error:
    print(json.dumps({"refusal": error.message}))
else:
    folders = [str(folder) for folder in files.folders]
    print(json.dumps([files.id, files.revision, str(files.onnx), folders]))
"""


@dataclass
class Machine:
    """A machine with a cache for the hub's files, and a way to the hub."""

    home: Path
    url: str

    def find(
        self,
        source: str,
        revision: str | None = None,
        model_file: str | None = None,
        **environment: str,
    ) -> ModelFiles:
        """`find_model` on this machine.

        Raises:
            ModelError: as it does.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        ours = {"HF_ENDPOINT": self.url, "HF_HOME": str(self.home), "HF_HUB_DISABLE_TELEMETRY": "1"}
        done = subprocess.run(
            [sys.executable, "-c", FIND_MODEL, json.dumps([source, revision, model_file])],
            env=kept | ours | environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        if isinstance(found, dict):
            raise ModelError(found["refusal"])
        id_, commit, onnx, folders = found
        return ModelFiles(id_, commit, Path(onnx), tuple(map(Path, folders)))

    def refusal(self, source: str, revision: str | None = None) -> str:
        """The sentence with which this model is refused."""
        with pytest.raises(ModelError) as caught:
            self.find(source, revision)
        return caught.value.message


def loads(files: ModelFiles) -> bool:
    """Whether these files are all that a model needs."""
    return Model(files, threads=1).info.labels == ("NEGATIVE", "POSITIVE")


@contextmanager
def machine_and_hub(home: Path, **repositories: Repository) -> Iterator[tuple[Machine, FakeHub]]:
    with running_hub(**repositories) as hub:
        yield Machine(home, hub.url), hub


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (home := tmp_path / "home").mkdir()
    return home


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """What a hub model usually has: pickles and safetensors beside two ONNX files."""
    folder = write_tiny_model(tmp_path / "films", file="onnx/model.onnx")
    write_tiny_model(folder, file="onnx/model_quantized.onnx")
    for name in ("pytorch_model.bin", "model.safetensors", "training_args.bin", "README.md"):
        (folder / name).write_bytes(b"never wanted")
    return Repository.of_folder(folder)


# On the hub


def test_a_model_is_downloaded_and_named_by_its_commit(home: Path, repository: Repository) -> None:
    with machine_and_hub(home, films=repository) as (machine, _):
        found = machine.find("acme/films")
    assert (found.id, found.revision) == ("acme/films", repository.commit)
    assert found.onnx.match("onnx/model_quantized.onnx")
    assert loads(found)


def test_only_what_is_needed_is_downloaded_and_never_a_pickle(
    home: Path, repository: Repository
) -> None:
    with machine_and_hub(home, films=repository) as (machine, hub):
        machine.find("acme/films")
    assert sorted(hub.downloads) == ["config.json", "onnx/model_quantized.onnx", "tokenizer.json"]


def test_another_of_its_onnx_files_can_be_asked_for(home: Path, repository: Repository) -> None:
    with machine_and_hub(home, films=repository) as (machine, hub):
        found = machine.find("acme/films", None, "onnx/model.onnx")
    assert found.onnx.match("onnx/model.onnx")
    assert "onnx/model_quantized.onnx" not in hub.downloads


def test_small_files_beside_the_onnx_file_are_found(home: Path, repository: Repository) -> None:
    """As in distilbert-base-uncased-finetuned-sst-2-english, whose root has no tokenizer.json."""
    repository.files["onnx/tokenizer.json"] = repository.files.pop("tokenizer.json")
    with machine_and_hub(home, films=repository) as (machine, _):
        assert loads(machine.find("acme/films"))


@pytest.mark.parametrize("revision", [None, "v1.0", "1" * 40])
def test_a_model_that_was_pulled_loads_when_the_hub_is_gone(
    home: Path, repository: Repository, revision: str | None
) -> None:
    repository.branches = ("main", "v1.0")
    with machine_and_hub(home, films=repository) as (machine, _):
        online = machine.find("acme/films", revision)
        assert online.revision == repository.commit
    offline = machine.find("acme/films", revision)
    assert offline == online
    assert loads(offline)


def test_a_model_that_was_pulled_loads_when_the_hub_is_in_trouble(
    home: Path, repository: Repository
) -> None:
    with machine_and_hub(home, films=repository) as (machine, hub):
        online = machine.find("acme/films")
        hub.broken = True
        assert machine.find("acme/films") == online


def test_a_model_that_was_pulled_loads_when_told_to_stay_offline(
    home: Path, repository: Repository
) -> None:
    with machine_and_hub(home, films=repository) as (machine, hub):
        online = machine.find("acme/films")
        hub.downloads.clear()
        assert machine.find("acme/films", HF_HUB_OFFLINE="1") == online
        assert hub.downloads == []


def test_a_second_start_downloads_nothing(home: Path, repository: Repository) -> None:
    with machine_and_hub(home, films=repository) as (machine, hub):
        machine.find("acme/films")
        hub.downloads.clear()
        machine.find("acme/films")
    assert hub.downloads == []


def test_a_new_commit_on_the_branch_is_taken(home: Path, repository: Repository) -> None:
    with machine_and_hub(home, films=repository) as (machine, _):
        machine.find("acme/films")
        repository.commit = "2" * 40
        assert machine.find("acme/films").revision == "2" * 40


# What the hub cannot give, and how it is said


def test_a_hub_out_of_reach_is_said_with_what_to_do(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    sentence = Machine(home, f"http://127.0.0.1:{port}").refusal("acme/films")
    assert sentence.startswith("The hub cannot be reached, and acme/films is not in the cache: ")
    assert "sentiment model pull" in sentence


def test_an_interrupted_pull_is_not_taken_for_a_model(home: Path, repository: Repository) -> None:
    with machine_and_hub(home, films=repository) as (machine, _):
        machine.find("acme/films").onnx.unlink()
    assert "is not in the cache" in machine.refusal("acme/films")


def test_a_model_that_is_not_there_is_said_by_name(home: Path) -> None:
    with machine_and_hub(home) as (machine, _):
        sentence = machine.refusal("acme/flims")
    assert "There is no model 'acme/flims' on the hub, nor a folder of that name" in sentence


def test_a_name_that_cannot_be_one_is_said_without_asking_the_hub(home: Path) -> None:
    sentence = Machine(home, "http://127.0.0.1:9").refusal("no such model!")
    assert "There is no model 'no such model!' on the hub" in sentence


def test_a_revision_that_is_not_there_is_said_by_name(home: Path, repository: Repository) -> None:
    with machine_and_hub(home, films=repository) as (machine, _):
        sentence = machine.refusal("acme/films", "v9")
    assert sentence == "The hub's model acme/films has no revision v9."


def test_a_gated_model_says_how_to_get_in(home: Path, repository: Repository) -> None:
    repository.gated = True
    with machine_and_hub(home, films=repository) as (machine, _):
        sentence = machine.refusal("acme/films")
    assert sentence == "acme/films is gated: accept its terms and set HF_TOKEN."


def test_a_model_with_only_a_pickle_says_how_to_export_it(home: Path) -> None:
    pickled = Repository({"config.json": b"{}", "pytorch_model.bin": b"pickle"})
    with machine_and_hub(home, pickled=pickled) as (machine, hub):
        sentence = machine.refusal("acme/pickled")
    assert "acme/pickled has no ONNX file" in sentence
    assert "sentiment model export acme/pickled DIR" in sentence
    assert hub.downloads == []


# In a folder


def test_a_folder_is_named_after_itself_and_its_file(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "films")
    files = find_model(str(folder))
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    assert (files.id, files.revision) == ("films", digest[:16])


def test_another_model_in_the_same_folder_has_another_revision(tmp_path: Path) -> None:
    one = find_model(str(write_tiny_model(tmp_path / "films"))).revision
    other = find_model(str(write_tiny_model(tmp_path / "films", bias=[1, 2]))).revision
    assert one != other


@pytest.mark.parametrize("source", ["./none", "/none", "~/none-of-this-name", "a/b/c"])
def test_a_folder_that_is_not_there_is_no_hub_model(source: str) -> None:
    with pytest.raises(ModelError, match=f"The model folder {source} does not exist"):
        find_model(source)


def test_an_empty_folder_says_how_to_fill_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no ONNX file; make a folder that has one"):
        find_model(str(tmp_path))


# Which of several files


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        (["model.onnx"], "model.onnx"),
        (["onnx/model.onnx", "model.onnx"], "model.onnx"),
        (["onnx/model.onnx", "onnx/model_quantized.onnx"], "onnx/model_quantized.onnx"),
        (["onnx/model.onnx", "onnx/model_qint8_arm64.onnx"], "onnx/model.onnx"),
        (["sentiment.onnx", "config.json"], "sentiment.onnx"),
    ],
)
def test_the_smallest_file_that_runs_everywhere_is_chosen(files: list[str], chosen: str) -> None:
    assert choose_onnx(files, None, "here") == chosen


def test_the_choice_is_left_to_the_operator_where_it_is_not_clear() -> None:
    with pytest.raises(ModelError, match=r"say one by SENTIMENT_MODEL_FILE: .*a\.onnx.*b\.onnx"):
        choose_onnx(["a.onnx", "b.onnx"], None, "here")


def test_a_file_that_was_asked_for_must_be_there() -> None:
    with pytest.raises(ModelError, match=r"here has no file x\.onnx; it has a\.onnx, b\.onnx"):
        choose_onnx(["a.onnx", "b.onnx"], "x.onnx", "here")


def test_a_file_that_is_not_onnx_cannot_be_asked_for() -> None:
    with pytest.raises(ModelError, match="it has no ONNX"):
        choose_onnx(["pytorch_model.bin"], "pytorch_model.bin", "here")
