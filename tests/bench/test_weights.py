import json

import numpy as np
import onnx

from bench.weights import BUNDLED, dequantised


def test_every_parameter_of_the_checkpoint_is_in_the_int8_file() -> None:
    config = json.loads((BUNDLED / "config.json").read_text())
    found = dict(dequantised(onnx.load(str(BUNDLED / "model.onnx")).graph))
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    linear = {
        "attention.self.query": (hidden, hidden),
        "attention.self.key": (hidden, hidden),
        "attention.self.value": (hidden, hidden),
        "attention.output.dense": (hidden, hidden),
        "intermediate.dense": (inner, hidden),
        "output.dense": (hidden, inner),
    }
    expected: dict[str, tuple[int, ...]] = {
        "bert.embeddings.word_embeddings.weight": (config["vocab_size"], hidden),
        "bert.embeddings.position_embeddings.weight": (config["max_position_embeddings"], hidden),
        "bert.embeddings.token_type_embeddings.weight": (config["type_vocab_size"], hidden),
        "bert.embeddings.LayerNorm.weight": (hidden,),
        "bert.embeddings.LayerNorm.bias": (hidden,),
        "bert.pooler.dense.weight": (hidden, hidden),
        "bert.pooler.dense.bias": (hidden,),
        "classifier.weight": (2, hidden),
        "classifier.bias": (2,),
    }
    for number in range(config["num_hidden_layers"]):
        layer = f"bert.encoder.layer.{number}"
        for name, shape in linear.items():
            expected[f"{layer}.{name}.weight"] = shape
            expected[f"{layer}.{name}.bias"] = shape[:1]
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            expected[f"{layer}.{name}.weight"] = (hidden,)
            expected[f"{layer}.{name}.bias"] = (hidden,)
    assert {name: value.shape for name, value in found.items()} == expected
    assert all(np.isfinite(value).all() for value in found.values())
    # One scale a channel of 7-bit integers: no more values than these have, once smoothing is out.
    query = found["bert.encoder.layer.0.attention.self.query.weight"]
    assert max(len(np.unique(row)) for row in query) <= 128
