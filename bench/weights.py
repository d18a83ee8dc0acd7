"""The bundled model's weights in fp32, for peers that multiply in fp32.

No training: the values are exactly those that the int8 file holds, each integer times its scale, so
that every server of a comparison computes the same network. Two folders come of it, a checkpoint as
`transformers` writes it and an ONNX model folder as `sentiment model export` writes it. Needs the
packages of the extra [export], so it runs in an environment of its own (see peers/torch); without
torch, give the folders that `make model` leaves.
"""

import argparse
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .machine import cache
from .peers.environment import environment

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from onnx import GraphProto, NodeProto

    Array = npt.NDArray[np.float32]

SOURCE = Path(__file__).parents[1] / "src"
BUNDLED = SOURCE / "sentiment_k8s" / "bundled"
LAYER = ("attention.output.dense", "intermediate.dense", "output.dense")
EMBEDDINGS = ("word", "position", "token_type")


@dataclass(frozen=True, slots=True)
class Weights:
    """Folders with the same fp32 weights."""

    checkpoint: Path
    onnx: Path


def weights() -> Weights:
    """The folders, made when there are none or the bundled model is another one."""
    folder = cache() / "weights"
    made = Weights(folder / "checkpoint", folder / "onnx-fp32")
    model = BUNDLED / "model.onnx"
    done = folder / "made"
    if not done.exists() or done.stat().st_mtime < model.stat().st_mtime:
        shutil.rmtree(folder, ignore_errors=True)
        command = [str(environment("torch")), "-m", "bench.weights", str(folder)]
        paths = {"PYTHONPATH": os.pathsep.join(map(str, (SOURCE, SOURCE.parent)))}
        subprocess.run(command, check=True, env=os.environ | paths, stdout=subprocess.DEVNULL)
        done.touch()
    return made


def main() -> None:
    """Make them, by a Python that has torch."""
    parser = argparse.ArgumentParser(prog="python -m bench.weights", description=__doc__)
    parser.add_argument("folder", type=Path, help="for checkpoint/ and onnx-fp32/")
    folder = parser.parse_args().folder
    write_checkpoint(folder / "checkpoint")
    from sentiment_k8s.export import export

    exported = export(folder / "checkpoint", folder / "onnx-fp32", precision="fp32")
    print(f"{folder}: the ONNX file differs from torch by {exported.difference:.1e} in its logits.")


def write_checkpoint(folder: Path) -> None:
    """The bundled model as `transformers` keeps one."""
    import onnx
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(BUNDLED))
    graph = onnx.load(str(BUNDLED / "model.onnx")).graph
    state = {name: torch.from_numpy(value.copy()) for name, value in dequantised(graph)}
    model.load_state_dict(state)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(BUNDLED).save_pretrained(folder)


def dequantised(graph: "GraphProto") -> Iterator[tuple[str, "Array"]]:
    """The parameters of BERT, by their names in torch, from the graph that `export` writes in
    int8 (see its graph.py and smooth.py for what it folded)."""
    import numpy as np
    from onnx import numpy_helper

    values = {one.name: numpy_helper.to_array(one) for one in graph.initializer}

    def times_scale(quantised: str) -> "Array":
        stem = quantised.removesuffix("_quantized")
        integers = values[quantised].astype(np.float32)
        zero = values[f"{stem}_zero_point"].astype(np.float32)
        product: Array = (integers - zero) * values[f"{stem}_scale"]
        return product

    attentions = [node for node in graph.node if node.op_type == "QAttention"]
    for number, node in enumerate(attentions):
        matrices = np.split(times_scale(node.input[1]).T, 3)
        biases = np.split(values[node.input[2]], 3)
        for name, matrix, bias in zip(("query", "key", "value"), matrices, biases, strict=True):
            prefix = f"bert.encoder.layer.{number}.attention.self.{name}"
            yield f"{prefix}.weight", matrix
            yield f"{prefix}.bias", bias
    names = [f"bert.encoder.layer.{at}.{part}" for at in range(len(attentions)) for part in LAYER]
    products = [node for node in graph.node if node.op_type == "MatMulInteger"]
    for name, node in zip([*names, "bert.pooler.dense", "classifier"], products, strict=True):
        factors = _smoothing(graph, node, values)
        yield f"{name}.weight", (times_scale(node.input[1]) * factors[:, None]).T
    for name in EMBEDDINGS:
        table = f"bert.embeddings.{name}_embeddings.weight"
        yield table, times_scale(f"model.{table}_quantized")
    for name in ("weight", "bias"):
        norm = f"bert.embeddings.LayerNorm.{name}"
        yield norm, times_scale(f"model.{norm}_quantized")
    for stored, value in values.items():  # biases and layer norms, which are fp32 in the file too
        if stored.startswith("model.") and stored.endswith((".weight", ".bias")):
            yield stored.removeprefix("model."), value


def _smoothing(graph: "GraphProto", product: "NodeProto", values: dict[str, Any]) -> "Array":
    """What the activations of an integer product are multiplied by before they are quantised."""
    import numpy as np

    made_by = {output: node for node in graph.node for output in node.output}
    read = made_by[product.input[0]].input[0]
    source = made_by[read]
    if source.op_type == "Mul" and source.input[1].endswith("_factors"):
        factors: Array = values[source.input[1]]
        return factors
    return np.ones(len(values[product.input[1]]), np.float32)


if __name__ == "__main__":
    main()
