"""Graphs that are written from weights, against plain numpy; test_export.py has torch's word."""

from math import erf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from sentiment_k8s import onnx_file
from sentiment_k8s.encoder import check
from sentiment_k8s.encoder_graph import find_encoder
from sentiment_k8s.graph import keep_first_token, split_layer_norms
from sentiment_k8s.onnx_engine import OnnxEngine
from sentiment_k8s.tokenizer import Tokens
from sentiment_k8s.written_graph import DISTILBERT, ROBERTA, Names, written

Weights = dict[str, npt.NDArray[np.float32]]

HIDDEN, WIDE, HEADS, LAYERS, WORDS, LONGEST, LABELS, PAD = 64, 128, 2, 2, 30, 20, 3, 1
EPSILON = 1e-5
FAMILIES = {"distilbert": DISTILBERT, "roberta": ROBERTA}


def configuration(family: str, **more: Any) -> Any:
    given = {"layer_norm_eps": EPSILON, "activation": "gelu", **more}
    return SimpleNamespace(
        model_type=family, num_attention_heads=HEADS, pad_token_id=PAD, to_dict=lambda: given
    )


def random_weights(names: Names, kinds: int) -> Weights:
    """As `transformers` names them."""
    random = np.random.default_rng(5)
    found: Weights = {}

    def add(name: str, *shape: int, mean: float = 0) -> None:
        spread = 1 / np.sqrt(shape[-1]) if len(shape) > 1 else 0.1
        found[name] = random.normal(mean, spread, shape).astype(np.float32)

    def linear(name: str, inputs: int, outputs: int) -> None:
        add(f"{name}.weight", outputs, inputs)
        add(f"{name}.bias", outputs)

    def norm(name: str) -> None:
        add(f"{name}.weight", HIDDEN, mean=1)
        add(f"{name}.bias", HIDDEN)

    add(f"{names.embeddings}.word_embeddings.weight", WORDS, HIDDEN)
    add(f"{names.embeddings}.position_embeddings.weight", LONGEST + (PAD + 1) * kinds, HIDDEN)
    if kinds:
        add(f"{names.embeddings}.token_type_embeddings.weight", kinds, HIDDEN)
    norm(f"{names.embeddings}.LayerNorm")
    for layer in range(LAYERS):
        at = f"{names.layers}.{layer}"
        for name in (names.query, names.key, names.value, names.attended):
            linear(f"{at}.{name}", HIDDEN, HIDDEN)
        linear(f"{at}.{names.wide}", HIDDEN, WIDE)
        linear(f"{at}.{names.narrow}", WIDE, HIDDEN)
        norm(f"{at}.{names.attention_norm}")
        norm(f"{at}.{names.norm}")
    linear(names.pooler, HIDDEN, HIDDEN)
    linear(names.classifier, HIDDEN, LABELS)
    return found


def expected(names: Names, w: Weights, ids: list[int]) -> Any:
    """The logits of one text, in double precision."""

    def linear(name: str, x: Any) -> Any:
        return x @ w[f"{name}.weight"].T.astype(float) + w[f"{name}.bias"]

    def norm(name: str, x: Any) -> Any:
        off = x - x.mean(-1, keepdims=True)
        even = off / np.sqrt((off**2).mean(-1, keepdims=True) + EPSILON)
        return even * w[f"{name}.weight"] + w[f"{name}.bias"]

    kinds = w.get(f"{names.embeddings}.token_type_embeddings.weight", np.zeros((1, HIDDEN)))
    first = 0 if names is DISTILBERT else PAD + 1
    positions = w[f"{names.embeddings}.position_embeddings.weight"][first : first + len(ids)]
    x = w[f"{names.embeddings}.word_embeddings.weight"][ids] + positions + kinds[0]
    x = norm(f"{names.embeddings}.LayerNorm", x.astype(float))
    for layer in range(LAYERS):
        at = f"{names.layers}.{layer}"
        q, k, v = (
            linear(f"{at}.{name}", x).reshape(len(ids), HEADS, -1).swapaxes(0, 1)
            for name in (names.query, names.key, names.value)
        )
        scores = np.exp(q @ k.swapaxes(1, 2) / np.sqrt(HIDDEN / HEADS))
        context = (scores / scores.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(x.shape)
        x = norm(f"{at}.{names.attention_norm}", x + linear(f"{at}.{names.attended}", context))
        wide = linear(f"{at}.{names.wide}", x)
        wide = wide * 0.5 * (1 + np.vectorize(erf)(wide / np.sqrt(2)))
        x = norm(f"{at}.{names.norm}", x + linear(f"{at}.{names.narrow}", wide))
    pooled = linear(names.pooler, x[0])
    active = np.maximum(pooled, 0) if names is DISTILBERT else np.tanh(pooled)
    return linear(names.classifier, active)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("faster", [False, True], ids=["as written", "as exported"])
def test_the_graph_computes_the_encoder(family: str, faster: bool, tmp_path: Path) -> None:
    names = FAMILIES[family]
    weights = random_weights(names, kinds=0 if family == "distilbert" else 1)
    model = written(configuration(family), weights)
    assert model is not None
    if faster:
        assert keep_first_token(model.graph)
        assert split_layer_norms(model.graph) == 2 * LAYERS
    onnx.save(model, tmp_path / "model.onnx")
    random = np.random.default_rng(6)
    texts = [random.integers(2, WORDS, length).tolist() for length in (7, 1, LONGEST)]
    tokens = [Tokens(text, [0] * len(text), False) for text in texts]
    logits = np.stack([expected(names, weights, text) for text in texts])
    found = OnnxEngine(tmp_path / "model.onnx", 1, PAD).run(tokens)
    np.testing.assert_allclose(found, logits, atol=1e-4)
    if faster:  # our own engine takes it
        check(find_encoder(onnx_file.read(tmp_path / "model.onnx")), vnni=True)


@pytest.mark.parametrize(
    ("family", "more"),
    [
        ("bert", {}),
        ("albert", {}),
        ("roberta", {"position_embedding_type": "relative_key"}),
        ("distilbert", {"activation": "relu"}),
        ("roberta", {"is_decoder": True}),
        ("roberta", {"type_vocab_size": 2}),
    ],
)
def test_what_is_computed_otherwise_is_not_written(family: str, more: dict[str, Any]) -> None:
    assert written(configuration(family, **more), {}) is None
