"""The model card: card.md filled in from the figures, so that none of them is copied by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sentiment_k8s.hub import find_model
from sentiment_k8s.model import Model

# What a reader would try first, and where such a model is weak.
PROBES = (
    ("plain", "I love AI!"),
    ("plain", "The worst two hours of my life."),
    ("negation", "I don't like it."),
    ("negation", "Not bad at all."),
    ("negation", "It never fails to disappoint."),
    ("sarcasm", "Oh great, another delay. Just what I needed."),
    ("neutral", "The meeting is on Tuesday at ten."),
    ("another domain", "The battery died after two days and support never answered."),
    ("not English", "Das Essen war schrecklich."),
    ("not English", "这部电影很好看。"),
)

Answers = list[tuple[str, str, str, float]]


def answers(folder: Path) -> Answers:
    """Kind, text, label and score of each probe by the model in `folder`."""
    model = Model(find_model(str(folder)), 1)
    found = []
    for kind, text in PROBES:
        [scores] = model.scores(model.run(model.tokenizer.encode([text])))
        at = int(np.argmax(scores))
        found.append((kind, text, model.info.labels[at], float(scores[at])))
    return found


def text(figures: dict[str, Any], probes: Answers) -> str:
    """The whole card, in the form of the Hugging Face hub."""
    template = Path(__file__).with_name("card.md").read_text(encoding="utf-8")
    rows = "".join(
        f"| {kind} | {said} | `{label}` | {score:.3f} |\n" for kind, said, label, score in probes
    )
    return template.format(**figures, answers=rows)
