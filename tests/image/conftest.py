"""These tests need a Docker engine and what `make image` built: run them by `make test-image`."""

import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import pytest

from .containers import BASE, IMAGE, POSTGRES, docker

Files = dict[str, tarfile.TarInfo]


@pytest.fixture(scope="session", autouse=True)
def images() -> None:
    for image in (IMAGE, BASE, POSTGRES):
        found = subprocess.run(["docker", "image", "inspect", image], capture_output=True)
        if found.returncode:
            pytest.exit(f"There is no image {image} (or no Docker engine): run `make image`.", 2)


@pytest.fixture(scope="session")
def files() -> Files:
    """The image's files by path."""
    return files_of(IMAGE)


@pytest.fixture(scope="session")
def base_files() -> Files:
    return files_of(BASE)


@pytest.fixture
def volume() -> Iterator[str]:
    with new_volume() as name:
        yield name


@contextmanager
def new_volume() -> Iterator[str]:
    """A volume that is gone afterwards; its name."""
    name = docker("volume", "create").strip()
    yield name
    docker("volume", "rm", name)


def files_of(image: str) -> Files:
    container = docker("create", image).strip()
    try:
        content = subprocess.run(["docker", "export", container], capture_output=True, check=True)
    finally:
        docker("rm", container)
    with tarfile.open(fileobj=BytesIO(content.stdout)) as archive:
        return {member.name: member for member in archive}
