"""The model inside the servers that are written with a framework; run by the peer's own Python.

`THREADS`, `CHECKPOINT` and `INT8` in the environment say how many threads and which weights;
`ENGINE` is `torch`, the pipeline that each framework's guide shows, or `onnxruntime`, the strongest
that a user could put there: our int8 file.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

BATCH = 32  # texts that are multiplied at once, at most

Rows = list[dict[str, Any]]


def engine() -> Callable[[Sequence[str]], Rows]:
    """A function from texts to a label and a score for each."""
    make = {"torch": _torch, "onnxruntime": _onnxruntime}[os.environ["ENGINE"]]
    return make(int(os.environ["THREADS"]))


def _torch(threads: int) -> Callable[[Sequence[str]], Rows]:
    import torch
    from transformers import pipeline

    torch.set_num_threads(threads)
    classify = pipeline("text-classification", model=os.environ["CHECKPOINT"], device="cpu")

    def run(texts: Sequence[str]) -> Rows:
        rows: Rows = classify(list(texts), batch_size=BATCH, truncation=True)
        return rows

    return run


def _onnxruntime(threads: int) -> Callable[[Sequence[str]], Rows]:
    import json

    import numpy as np
    import onnxruntime
    from tokenizers import Tokenizer

    folder = Path(os.environ["INT8"])
    labels = json.loads((folder / "config.json").read_text())["id2label"]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding()
    tokenizer.enable_truncation(512)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), options, disabled_optimizers=["SkipLayerNormFusion"]
    )
    inputs = {
        "input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"
    }  # fmt: skip

    def some(texts: Sequence[str]) -> Rows:
        encodings = tokenizer.encode_batch(list(texts))
        arrays = {
            name: np.array([getattr(one, field) for one in encodings], np.int64)
            for name, field in inputs.items()
        }
        [logits] = session.run(["logits"], arrays)
        scores = np.exp(logits - logits.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        return [
            {"label": labels[str(best)], "score": float(row[best])}
            for row, best in zip(scores, scores.argmax(-1), strict=True)
        ]

    def run(texts: Sequence[str]) -> Rows:
        return [row for at in range(0, len(texts), BATCH) for row in some(texts[at : at + BATCH])]

    return run


def flat(run: Callable[[Sequence[str]], Rows], requests: Sequence[Sequence[str]]) -> list[Rows]:
    """The rows of several requests, whose texts are run together."""
    rows = iter(run([text for texts in requests for text in texts]))
    return [[next(rows) for _ in texts] for texts in requests]
