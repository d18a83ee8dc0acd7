"""A greedy soup: the mean of those runs' weights that helps on the held-out sentences.

Wortsman et al. 2022, "Model soups". It costs nothing at run time, and works because every run
starts from the same encoder and the same head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from transformers import BertForSequenceClassification

from . import encoder

Weights = Mapping[str, torch.Tensor]
# What a model costs, least is best: tuples compare by their first part that differs.
Cost = Callable[[BertForSequenceClassification], tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Soup:
    """The chosen model, the runs in it, and what each step of the choice gave."""

    model: BertForSequenceClassification
    members: list[str]
    steps: list[dict[str, object]]


def greedy(candidates: Mapping[str, BertForSequenceClassification], cost: Cost) -> Soup:
    """Start with the candidate of least `cost`; keep each further one that does not raise it."""
    alone = {name: cost(model) for name, model in candidates.items()}
    steps: list[dict[str, object]] = [{"tried": [n], "cost": found} for n, found in alone.items()]
    ranked = sorted(alone, key=lambda name: alone[name])
    members, best = ranked[:1], alone[ranked[0]]
    for name in ranked[1:]:
        tried = [*members, name]
        found = cost(mean([candidates[member] for member in tried]))
        steps.append({"tried": tried, "cost": found})
        if found <= best:
            members, best = tried, found
    return Soup(mean([candidates[member] for member in members]), members, steps)


def mean(models: list[BertForSequenceClassification]) -> BertForSequenceClassification:
    """A classifier whose weights are the mean of `models`' weights."""
    states: list[Weights] = [model.state_dict() for model in models]
    result = encoder.classifier()
    result.load_state_dict(
        {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
    )
    return result.eval()
