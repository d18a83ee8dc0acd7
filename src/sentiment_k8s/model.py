"""The model: an engine that computes it, its labels, and what its logits mean."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from .encoder import load_encoder
from .errors import ModelError
from .hub import ModelFiles
from .tokenizer import Tokenizer, Tokens

Logits = npt.NDArray[np.float32]
EngineChoice = Literal["auto", "onnxruntime"]
ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]

LONGEST = 512  # tokens a text when the model itself sets no bound
QUANTISED = ("int8", "quint8", "qint8", "uint8", "quantized")


class Engine(Protocol):
    """What computes a model's logits."""

    @property
    def name(self) -> str:
        """Kept with each row of the log."""

    @property
    def pads(self) -> bool:
        """Whether a batch costs its longest text times its number of texts."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the model's file says of itself."""

    def run(self, batch: Sequence[Tokens]) -> Logits:
        """The logits of n texts: float32 of shape (n, labels)."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a row of the log and `/health` say of the model; `engine` is what computes it here."""

    id: str
    revision: str
    precision: str
    engine: str
    labels: tuple[str, ...]
    problem_type: ProblemType
    max_tokens: int


class Model:
    """A sequence classifier ready to run.

    Args:
        files: where it is.
        threads: that compute one batch.
        engine: what computes: "onnxruntime", or with "auto" our own encoder where the CPU, the
            model and `threads` (one) are such that it can.

    Raises:
        ModelError: the folder cannot be served, and why.
    """

    def __init__(self, files: ModelFiles, threads: int, engine: EngineChoice = "auto") -> None:
        config = _read_json(files, "config.json")
        labels, problem_type = _head(config, files)
        self._pad_id = _number(config, "pad_token_id", 0)
        self.engine = _engine(files, threads, engine, self._pad_id)
        self.info = ModelInfo(
            files.id,
            files.revision,
            _precision(self.engine.metadata, files),
            self.engine.name,
            labels,
            problem_type,
            _max_tokens(config, _read_json(files, "tokenizer_config.json", optional=True)),
        )
        tokenizer = files.small_file("tokenizer.json")
        if tokenizer is None:
            raise ModelError(
                f"{files.id} has no tokenizer.json; `sentiment model export` writes one "
                "from the older vocabulary files."
            )
        self.tokenizer = Tokenizer(tokenizer, self.info.max_tokens)
        self._check_head(files)

    def run(self, batch: Sequence[Tokens]) -> Logits:
        """The logits of a batch.

        Args:
            batch: n tokenised texts.

        Returns:
            float32 of shape (n, labels).
        """
        return self.engine.run(batch)

    def scores(self, logits: Logits) -> Logits:
        """Logits to scores, by the kind of head: softmax over labels, a sigmoid a label, or the
        plain value of a regression.

        Args:
            logits: float32 of shape (n, labels).
        """
        match self.info.problem_type:
            case "regression":
                return logits
            case "multi_label_classification":
                return sigmoid(logits)
            case "single_label_classification":
                return softmax(logits)

    def warm_up(self, token_budget: int) -> None:
        """Run the largest batches that the budget allows: the longest text alone, and the most
        texts of a common length, so that the first request finds memory and kernels ready.

        Raises:
            ModelError: the model cannot run what its own configuration allows.
        """
        for count, length in ((1, self.info.max_tokens), (max(1, token_budget // 32), 32)):
            tokens = Tokens([self._pad_id] * length, [0] * length, truncated=False)
            self._try([tokens] * count)

    def _check_head(self, files: ModelFiles) -> None:
        """Two texts of two lengths: so a graph for one text, or for one length, shows itself."""
        logits = self._try(self.tokenizer.encode(["a", "a longer text"]))
        labels = len(self.info.labels)
        if logits.shape != (2, labels):
            raise ModelError(
                f"{files.onnx} gives logits of shape {logits.shape} for two texts, but config.json "
                f"has {labels} labels in id2label, so {(2, labels)} was expected."
            )

    def _try(self, batch: Sequence[Tokens]) -> Logits:
        """Run a batch at start, when a failure is the model's and no text's."""
        try:
            return self.run(batch)
        except Exception as error:  # the runtime's exceptions have no common base
            raise ModelError(
                f"{self.info.id} fails on a batch of {len(batch)}, of up to "
                f"{max(map(len, batch))} tokens: {error}."
            ) from None


def sigmoid(logits: Logits) -> Logits:
    """1 / (1 + exp(-x)), without the overflow far below zero."""
    return np.asarray(np.exp(-np.logaddexp(0, -logits)), np.float32)


def softmax(logits: Logits) -> Logits:
    """Scores that sum to one over the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True), np.float32)


def _read_json(files: ModelFiles, name: str, *, optional: bool = False) -> dict[str, Any]:
    path = files.small_file(name)
    if path is None:
        if optional:
            return {}
        raise ModelError(f"{files.id} has no {name}: not a Hugging Face model folder.")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, OSError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}.") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path} is not a JSON object.")
    return content


def _head(config: dict[str, Any], files: ModelFiles) -> tuple[tuple[str, ...], ProblemType]:
    """Labels in the order of the logits, and the kind of head, as `transformers` reads them."""
    names = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    try:
        by_index = {int(index): str(label) for index, label in names.items()}
        labels = tuple(by_index[index] for index in range(len(by_index)))
    except (AttributeError, KeyError, ValueError, TypeError):
        raise ModelError(f"id2label in config.json of {files.id} does not count from 0.") from None
    if len(set(labels)) != len(labels):
        raise ModelError(f"id2label in config.json of {files.id} has the same label twice.")
    kind = config.get("problem_type")
    match kind:
        case "regression" | "multi_label_classification" | "single_label_classification":
            return labels, kind
        case None:
            one_output = len(labels) == 1
            return labels, (
                "multi_label_classification" if one_output else "single_label_classification"
            )
        case _:
            raise ModelError(f"problem_type {kind!r} in config.json of {files.id} is unknown.")


def _engine(files: ModelFiles, threads: int, engine: EngineChoice, pad_id: int) -> Engine:
    if engine == "auto" and threads == 1 and (found := load_encoder(files.onnx)):
        return found
    # Only where it computes: importing it takes 0.1 s and 30 MiB.
    from .onnx_engine import OnnxEngine

    return OnnxEngine(files.onnx, threads, pad_id)


def _precision(metadata: Mapping[str, str], files: ModelFiles) -> str:
    """As the export wrote it into the model, else by the file's name, as on the hub."""
    if written := metadata.get("precision"):
        return written
    name = files.onnx.stem
    if any(word in name for word in QUANTISED):
        return "int8"
    return next((kind for kind in ("fp16", "q4", "bnb4") if kind in name), "fp32")


def _max_tokens(config: dict[str, Any], tokenizer_config: dict[str, Any]) -> int:
    """The longest text, special tokens included; RoBERTa's positions start after the padding's."""
    positions = _number(config, "max_position_embeddings", LONGEST, least=1)
    if config.get("model_type") in {"roberta", "xlm-roberta", "camembert", "bertweet"}:
        positions -= _number(config, "pad_token_id", 1) + 1
    said = _number(tokenizer_config, "model_max_length", LONGEST, least=1)
    return min(positions, said, LONGEST)


def _number(config: dict[str, Any], name: str, default: int, least: int = 0) -> int:
    """A whole number of a configuration; below `least` it means "none", as -1 often does."""
    value = config.get(name)
    if value is None:
        return default
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        raise ModelError(f"The model's {name} is {value!r}, which is no number.") from None
    return number if number >= least else default
