"""How good a model folder is: measured through the code that serves it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sentiment_k8s.hub import find_model
from sentiment_k8s.model import Model
from sentiment_k8s.threads import usable_threads

from . import calibrate
from .data import Example

TOKEN_BUDGET = 512

Figures = dict[str, float | int]


def logits(folder: Path, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """The folder's logits of `texts`, in their order, in batches as the server makes them."""
    model = Model(find_model(str(folder)), usable_threads())
    tokens = model.tokenizer.encode(texts)
    found = np.empty((len(texts), len(model.info.labels)), np.float32)
    batch: list[int] = []
    for at in sorted(range(len(texts)), key=lambda at: len(tokens[at])):
        if batch and (len(batch) + 1) * len(tokens[at]) > TOKEN_BUDGET:
            found[batch] = model.run([tokens[i] for i in batch])
            batch = []
        batch.append(at)
    found[batch] = model.run([tokens[i] for i in batch])
    return found


def alone(folder: Path, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """The folder's logits of `texts`, each run by itself.

    Dynamic quantisation scales activations over a whole batch, so an int8 answer depends a
    little on the texts beside it; this is the other end of that range.
    """
    model = Model(find_model(str(folder)), usable_threads())
    return np.concatenate([model.run([tokens]) for tokens in model.tokenizer.encode(texts)])


def accuracy(found: npt.NDArray[np.float32], examples: Sequence[Example]) -> Figures:
    """Accuracy, its standard error, and n."""
    right = found.argmax(axis=1) == labels(examples)
    share = float(right.mean())
    error = float(np.sqrt(share * (1 - share) / len(right)))
    return {"accuracy": share, "standard_error": error, "n": len(right)}


def calibration(found: npt.NDArray[np.float32], examples: Sequence[Example]) -> Figures:
    """Calibration error of the scores as they are, and what perfect scores would show."""
    scores = np.exp(calibrate.log_softmax(found.astype(np.float64)))
    return {
        "calibration_error": calibrate.calibration_error(scores, labels(examples)),
        "noise_floor": calibrate.noise_floor(scores),
        "cross_entropy": calibrate.cross_entropy(found.astype(np.float64), labels(examples)),
        "bins": calibrate.BINS,
        "n": len(scores),
    }


def agreement(one: npt.NDArray[np.float32], two: npt.NDArray[np.float32]) -> float:
    """The share of texts that get the same label."""
    return float((one.argmax(axis=1) == two.argmax(axis=1)).mean())


def score_difference(one: npt.NDArray[np.float32], two: npt.NDArray[np.float32]) -> float:
    """The largest absolute difference of a score."""
    scores = [np.exp(calibrate.log_softmax(found.astype(np.float64))) for found in (one, two)]
    return float(np.abs(scores[0] - scores[1]).max())


def labels(examples: Sequence[Example]) -> npt.NDArray[np.int64]:
    """The examples' labels as an array."""
    return np.array([example.label for example in examples], np.int64)
