"""Model folders of a few kilobytes: a bag of words whose logits can be worked out by hand.

The logits of a text are the sum of its words' weights plus a bias. Real ONNX Runtime and a real
tokenizer run them; only the training is missing.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = ["a", "good", "bad", "film", "longer", "text"]
# The tokenizer knows it and the model has no weights for it, so the model fails on it.
POISON = "poison"
WEIGHTS = {"good": (-1.0, 1.0), "bad": (1.0, -1.0)}


def write_tiny_model(
    folder: Path,
    *,
    file: str = "model.onnx",
    labels: Sequence[str] = ("NEGATIVE", "POSITIVE"),
    weights: Mapping[str, Sequence[float]] = WEIGHTS,
    bias: Sequence[float] = (0.0, 0.0),
    inputs: Sequence[str] = ("input_ids", "attention_mask", "token_type_ids"),
    integers: int = TensorProto.INT64,
    batch: int | str = "batch",
    length: int | str = "length",
    logits_a_token: bool = False,
    metadata: Mapping[str, str] | None = None,
    **config: object,
) -> Path:
    """Write a model folder.

    Args:
        folder: where; made if it is not there.
        file: path of the ONNX file in it.
        labels: for `id2label`.
        weights: a word's logits; words without are neutral.
        bias: added to every text's logits.
        inputs: names of the graph's inputs.
        integers: their ONNX type.
        batch: a number fixes the size of a batch in the graph.
        length: a number fixes the tokens of a text.
        logits_a_token: leave the sum out, as a token classifier does.
        metadata: the ONNX file's own properties.
        config: more of config.json; None leaves a field out.

    Returns:
        The folder.
    """
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    width = len(bias)
    table = np.zeros((len(SPECIAL + WORDS), width), np.float32)
    for word, logits in weights.items():
        table[(SPECIAL + WORDS).index(word)] = logits[:width]
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["words"])]
    if "attention_mask" in inputs:
        nodes += [
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
            helper.make_node("Mul", ["words", "column"], ["counted"]),
        ]
    counted = nodes[-1].output[0]
    if logits_a_token:
        nodes.append(helper.make_node("Add", [counted, "bias"], ["logits"]))
    else:
        nodes += [
            helper.make_node("ReduceSum", [counted, "second"], ["sum"], keepdims=0),
            helper.make_node("Add", ["sum", "bias"], ["logits"]),
        ]
    graph = helper.make_graph(
        nodes,
        "bag-of-words",
        [helper.make_tensor_value_info(name, integers, [batch, length]) for name in inputs],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.asarray(bias, np.float32), "bias"),
            numpy_helper.from_array(np.asarray([2], np.int64), "last"),
            numpy_helper.from_array(np.asarray([1], np.int64), "second"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, dict(metadata or {}))
    onnx.save(model, str(folder / file))
    settings: dict[str, object] = {
        "model_type": "bert",
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "max_position_embeddings": 64,
        "pad_token_id": 0,
    } | config
    write_json(folder / "config.json", {k: v for k, v in settings.items() if v is not None})
    write_tiny_tokenizer(folder / "tokenizer.json")
    return folder


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))


def write_tiny_tokenizer(path: Path) -> None:
    """A word a token, lower case, between [CLS] and [SEP]."""
    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *WORDS, POISON])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(path))
