"""Temperature scaling, and an honest estimate of how well scores are calibrated."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from transformers import BertForSequenceClassification

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BINS = 15
GRID = np.exp(np.linspace(np.log(0.25), np.log(4.0), 1201))  # steps of 0.2 %


def log_softmax(logits: Floats) -> Floats:
    """Log-probabilities along the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def cross_entropy(logits: Floats, labels: Ints) -> float:
    """Mean negative log-likelihood of `labels`, in nats."""
    return float(-log_softmax(logits)[np.arange(len(labels)), labels].mean())


def temperature(logits: Floats, labels: Ints) -> float:
    """The T for which softmax(logits / T) has the least cross-entropy (Guo et al. 2017)."""
    return float(min(GRID, key=lambda t: cross_entropy(logits / t, labels)))


def scaled_cross_entropy(logits: Floats, labels: Ints) -> float:
    """Cross-entropy at the best temperature: how good the scores are, apart from their scale."""
    return cross_entropy(logits / temperature(logits, labels), labels)


def fold(model: BertForSequenceClassification, t: float) -> None:
    """Divide the head by `t`, so that the softmax of plain logits is calibrated for any server."""
    with torch.no_grad():
        model.classifier.weight /= t
        model.classifier.bias /= t


def calibration_error(scores: Floats, labels: Ints, bins: int = BINS) -> float:
    """Expected calibration error of the winning label's score, over bins of equal mass.

    `scores` are probabilities of shape (n, labels).
    """
    score, right = scores.max(axis=1), scores.argmax(axis=1) == labels
    order = np.argsort(score, kind="stable")
    parts = np.array_split(order, bins)
    gaps = [abs(score[part].mean() - right[part].mean()) * len(part) for part in parts]
    return float(sum(gaps) / len(score))


def cross_fitted(logits: Floats, labels: Ints) -> Floats:
    """Probabilities of each half by the temperature that fits the other half."""
    scores = np.empty_like(logits)
    for half in (0, 1):
        mine, other = np.arange(len(labels)) % 2 == half, np.arange(len(labels)) % 2 != half
        t = temperature(logits[other], labels[other])
        scores[mine] = np.exp(log_softmax(logits[mine] / t))
    return scores


def noise_floor(scores: Floats, *, seed: int = 0, draws: int = 200) -> float:
    """The mean calibration error that perfectly calibrated `scores` would show at this n."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        labels = (rng.random((len(scores), 1)) > scores.cumsum(axis=1)).sum(axis=1)
        found.append(calibration_error(scores, np.minimum(labels, scores.shape[1] - 1)))
    return float(np.mean(found))
