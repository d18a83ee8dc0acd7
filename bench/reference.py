"""What is right: the labels of the fp32 model, one text at a time, and how sure it is of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .loads import Right
from .report import percentile

if TYPE_CHECKING:
    from sentiment_k8s.model import Logits, Model


@dataclass(frozen=True, slots=True)
class Reference:
    """By kind of texts, what is right for each text.

    `error` is the margin's error by quantisation: 99 in 100 texts, each alone, have a margin that
    differs by no more between the fp32 and the int8 file. A label that differs from the
    reference's where its margin is greater is a clear flip.
    """

    right: Mapping[str, list[Right]]
    error: float


def reference(fp32: "Model", int8: "Model", texts: Mapping[str, Sequence[str]]) -> Reference:
    """Run both models on all texts."""
    right: dict[str, list[Right]] = {}
    errors: list[float] = []
    for kind, each in texts.items():
        sure, less_sure = (_logits(model, each) for model in (fp32, int8))
        best = [int(row.argmax()) for row in sure]
        margins = _margins(sure, best)
        quantised = _margins(less_sure, best)
        errors += [abs(one - other) for one, other in zip(margins, quantised, strict=True)]
        right[kind] = [
            Right(fp32.info.labels[label], margin)
            for label, margin in zip(best, margins, strict=True)
        ]
    return Reference(right, percentile(errors, 99))


def _logits(model: "Model", texts: Sequence[str]) -> "list[Logits]":
    return [model.run([tokens])[0] for tokens in model.tokenizer.encode(texts)]


def _margins(logits: "Sequence[Logits]", labels: Sequence[int]) -> list[float]:
    """The logit of a label less the greatest of the others."""
    return [
        float(row[label] - max(value for at, value in enumerate(row) if at != label))
        for row, label in zip(logits, labels, strict=True)
    ]
