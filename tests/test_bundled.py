"""The committed model is as good as its card says."""

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from sentiment_k8s.hub import BUNDLED, find_model
from sentiment_k8s.model import Model

REFERENCE = Path(__file__).parents[1] / "training" / "reference"
TOKEN_BUDGET = 512

Logits = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((REFERENCE / "figures.json").read_text(encoding="utf-8"))
    return read


@pytest.fixture(scope="module")
def dev() -> tuple[list[str], npt.NDArray[np.int64]]:
    """SST-2's dev sentences and labels (Socher et al. 2013)."""
    with (REFERENCE / "dev.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row["sentence"] for row in rows], np.array([int(row["label"]) for row in rows])


@pytest.fixture(scope="module", params=["auto", "onnxruntime"])
def model(request: pytest.FixtureRequest) -> Model:
    """By what computes it here, and by ONNX Runtime, which computes it elsewhere."""
    return Model(find_model("bundled"), 1, request.param)


@pytest.fixture(scope="module")
def logits(model: Model, dev: tuple[list[str], npt.NDArray[np.int64]]) -> Logits:
    tokens = model.tokenizer.encode(dev[0])
    found = np.empty((len(tokens), 2), np.float32)
    for batch in batches([len(encoded) for encoded in tokens]):
        found[batch] = model.run([tokens[at] for at in batch])
    return found


def batches(lengths: list[int]) -> Iterator[list[int]]:
    """Indices of texts of about one length, at most TOKEN_BUDGET padded tokens a batch."""
    batch: list[int] = []
    for at in sorted(range(len(lengths)), key=lengths.__getitem__):
        if (len(batch) + 1) * lengths[at] > TOKEN_BUDGET:
            yield batch
            batch = []
        batch.append(at)
    yield batch


def test_its_accuracy_on_the_dev_set_is_what_its_card_says(
    logits: Logits, dev: tuple[list[str], npt.NDArray[np.int64]], figures: dict[str, Any]
) -> None:
    accuracy = (logits.argmax(axis=1) == dev[1]).mean()
    # Another CPU's kernels round a few texts on the fence to the other side.
    assert accuracy == pytest.approx(figures["dev"]["int8"]["accuracy"], abs=0.006)
    assert accuracy >= 0.895


def test_it_gives_the_label_of_fp32_to_99_texts_of_a_hundred(logits: Logits) -> None:
    fp32 = np.load(REFERENCE / "dev_logits_fp32.npy")
    assert fp32.shape == logits.shape
    assert (logits.argmax(axis=1) == fp32.argmax(axis=1)).mean() >= 0.99


def test_its_last_layer_computes_the_first_token_alone() -> None:
    """The head reads no other; it is an eighth of the whole."""
    nodes = onnx.load(str(BUNDLED / "model.onnx")).graph.node
    attention = [node for node in nodes if node.op_type == "QAttention"][-1]
    sliced = [node.input[0] for node in nodes if node.op_type == "Slice"]
    assert len(sliced) == 2  # what it is added to, and its output
    assert sliced[1] == attention.output[0]


def test_its_labels_are_those_of_the_book(model: Model) -> None:
    assert model.info.labels == ("NEGATIVE", "POSITIVE")
    assert model.info.precision == "int8"
    assert model.info.max_tokens == 512


def test_it_is_30_megabytes_or_less() -> None:
    assert sum(path.stat().st_size for path in BUNDLED.iterdir()) <= 30e6


def test_its_scores_are_calibrated_on_held_out_sentences(figures: dict[str, Any]) -> None:
    assert figures["calibration"]["cross_fitted"]["calibration_error"] < 0.03


def test_the_card_says_the_figures_that_were_measured(figures: dict[str, Any]) -> None:
    card = (BUNDLED / "README.md").read_text(encoding="utf-8")
    for precision in ("int8", "fp32"):
        assert f"{figures['dev'][precision]['accuracy']:.4f}" in card
    assert f"**{figures['calibration']['cross_fitted']['calibration_error']:.3f}**" in card


def test_the_figures_are_of_this_file(figures: dict[str, Any]) -> None:
    found = hashlib.sha256((BUNDLED / "model.onnx").read_bytes()).hexdigest()
    assert found == figures["int8"]["sha256"]
