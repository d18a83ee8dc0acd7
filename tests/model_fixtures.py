"""The models that tests run: the bundled one, and tiny ones written on the spot."""

import os
from pathlib import Path

import pytest

from sentiment_k8s.hub import BUNDLED, find_model
from sentiment_k8s.model import Model

from .tiny_models import write_tiny_model


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """The bundled model's folder; SENTIMENT_TEST_MODEL names one to test before it is there."""
    if (BUNDLED / "model.onnx").is_file():
        return BUNDLED
    if folder := os.environ.get("SENTIMENT_TEST_MODEL"):
        return Path(folder)
    pytest.fail("There is no bundled model: run `make model`.")


@pytest.fixture(scope="session")
def bundled_model(model_folder: Path) -> Model:
    return Model(find_model(str(model_folder)), threads=1)


@pytest.fixture
def tiny_folder(tmp_path: Path) -> Path:
    """A bag of words: "good" is POSITIVE, "bad" is NEGATIVE, "poison" makes the model fail."""
    return write_tiny_model(tmp_path / "tiny")


@pytest.fixture
def tiny_model(tiny_folder: Path) -> Model:
    return Model(find_model(str(tiny_folder)), threads=1)
