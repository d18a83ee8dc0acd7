"""What a model needs at least: its multiply-adds, from its configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any


@dataclass(frozen=True, slots=True)
class Shape:
    """An encoder as its matrix products see it."""

    layers: int
    hidden: int
    intermediate: int
    labels: int

    @property
    def a_token(self) -> int:
        """Multiply-adds of the linear layers, for one token: queries, keys, values and the output
        of attention, and the two of the feed-forward network, in each layer."""
        return self.layers * (4 * self.hidden**2 + 2 * self.hidden * self.intermediate)

    def a_text(self, tokens: int) -> int:
        """Multiply-adds for one text of so many tokens, padding apart: the linear layers, the two
        products of attention over the text's own length, and the head on one token."""
        attention = self.layers * 2 * tokens**2 * self.hidden
        head = self.hidden**2 + self.hidden * self.labels
        return tokens * self.a_token + attention + head

    def least(self, tokens: int) -> int:
        """As `a_text`, but in the last layer only what a head that reads the first token needs:
        keys and values of all tokens, the rest of one."""
        needless = self.a_token // self.layers - 2 * self.hidden**2
        attention = 2 * tokens * self.hidden
        return self.a_text(tokens) - (tokens - 1) * (needless + attention)

    def mean(self, lengths: Sequence[int]) -> float:
        """Multiply-adds a text, on average."""
        return fmean(map(self.a_text, lengths))

    def mean_least(self, lengths: Sequence[int]) -> float:
        """The least multiply-adds a text, on average."""
        return fmean(map(self.least, lengths))


def shape_of(config: Mapping[str, Any]) -> Shape:
    """The shape that a `config.json` of BERT, RoBERTa or DistilBERT describes."""
    return Shape(
        layers=_first(config, "num_hidden_layers", "n_layers"),
        hidden=_first(config, "hidden_size", "dim"),
        intermediate=_first(config, "intermediate_size", "hidden_dim"),
        labels=len(config.get("id2label", ())) or 2,
    )


def _first(config: Mapping[str, Any], *names: str) -> int:
    return next(int(config[name]) for name in names if name in config)
