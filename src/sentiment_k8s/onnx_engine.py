"""The engine for every other model: ONNX Runtime, given padded batches."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from .errors import ModelError
from .tokenizer import Tokens

KNOWN_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


class OnnxEngine:
    """An ONNX Runtime session of a sequence classifier.

    Args:
        path: of the ONNX file.
        threads: intra-op threads of ONNX Runtime.
        pad_id: the token that pads.

    Raises:
        ModelError: it cannot be served, and why.
    """

    name = "onnxruntime"
    pads = True

    def __init__(self, path: Path, threads: int, pad_id: int) -> None:
        self._session = _session(path, threads)
        self._dtypes = _inputs(self._session, path)
        self._pad_id = pad_id

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the file says of itself."""
        found: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        return found

    def run(self, batch: Sequence[Tokens]) -> npt.NDArray[np.float32]:
        """The logits of a batch, padded to its longest text.

        Args:
            batch: n tokenised texts.

        Returns:
            float32 of shape (n, labels).
        """
        shape = (len(batch), max(map(len, batch)))
        ids: npt.NDArray[np.integer[Any]] = np.full(shape, self._pad_id, self._dtypes["input_ids"])
        for row, tokens in zip(ids, batch, strict=True):
            row[: len(tokens)] = tokens.ids
        inputs = {"input_ids": ids}
        if dtype := self._dtypes.get("attention_mask"):
            lengths = np.fromiter(map(len, batch), np.int64, shape[0])
            inputs["attention_mask"] = (np.arange(shape[1]) < lengths[:, None]).astype(dtype)
        if dtype := self._dtypes.get("token_type_ids"):
            inputs["token_type_ids"] = np.zeros(shape, dtype)
            for row, tokens in zip(inputs["token_type_ids"], batch, strict=True):
                row[: len(tokens)] = tokens.type_ids
        [logits] = self._session.run(["logits"], inputs)
        return np.asarray(logits, np.float32)


def _session(path: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Its errors reach us as exceptions; its own lines on stderr would be no JSON.
    options.log_severity_level = 4
    # Spinning threads burn the CPU quota that the next batch needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Shapes differ from batch to batch: plans made for one shape would only pile up.
    options.enable_mem_pattern = False
    try:
        return ort.InferenceSession(
            path,
            options,
            providers=["CPUExecutionProvider"],
            # Its fused kernel is six times slower on CPU than what it replaces: see graph.py.
            disabled_optimizers=["SkipLayerNormFusion"],
        )
    except Exception as error:  # the runtime's exceptions have no common base
        raise ModelError(f"{path} is not a usable ONNX model: {error}.") from None


def _inputs(session: ort.InferenceSession, path: Path) -> dict[str, type]:
    types = {node.name: node.type for node in session.get_inputs()}
    outputs = [node.name for node in session.get_outputs()]
    unusable = set(types) - KNOWN_INPUTS or {n for n, kind in types.items() if kind not in INTEGERS}
    if "input_ids" not in types or unusable or "logits" not in outputs:
        raise ModelError(
            f"{path} is not an encoder with a classification head: "
            f"its inputs are {sorted(types)}, its outputs {outputs}."
        )
    return {name: INTEGERS[kind] for name, kind in types.items()}
