"""Checkpoint to model folder: any Hugging Face sequence classifier as ONNX, int8 or fp32.

Needs the extra `[export]` (torch, transformers, onnx); nothing at run time imports this module.
The folder holds what the server reads: config.json, tokenizer.json, tokenizer_config.json and
model.onnx. Weights are read from safetensors only, and no code of the checkpoint is run.
"""

from __future__ import annotations

import inspect
import json
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ModelError
from .graph import keep_first_token, split_layer_norms
from .smooth import largest_activations, smooth
from .written_graph import OPSET, written

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

PRECISIONS = ("int8", "fp32")
INSTALL = 'exporting needs torch, transformers and onnx: pip install "sentiment-k8s[export]"'
# The attention and embedding fusions of onnxruntime.transformers know these shapes as "bert".
BERT_LIKE = frozenset(
    {"bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta", "xlm-roberta-xl"}
)
# Position 0 of these is `padding_idx + 1`, so that many positions are never used by a text.
OFFSET_POSITIONS = frozenset({"camembert", "roberta", "xlm-roberta", "xlm-roberta-xl"})

FP32_TOLERANCE = 1e-3  # of the logits, absolute; fused kernels reorder sums
PROBES = (
    "A film worth every minute of it.",
    "No.",
    "It is not that the plot is bad; there is none, and nobody in it seems to mind at all.",
)
# How somebody once called the tokenizer; a server that pads or truncates decides that itself.
SAVED_TRUNCATION = (
    "max_length",
    "pad_to_multiple_of",
    "stride",
    "truncation_strategy",
)
NETWORK_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]


@dataclass(frozen=True, slots=True)
class Exported:
    """What `export` wrote, and how far it is from torch.

    `source` is the hub id or the folder's name, `revision` the hub's commit ("" for a folder),
    `size` that of model.onnx in bytes. `difference` is the largest absolute difference of a logit
    between the written file and torch's fp32 over a few sentences.
    """

    folder: Path
    source: str
    revision: str
    precision: str
    labels: tuple[str, ...]
    size: int
    difference: float


def export(
    source: str | Path,
    target: Path,
    *,
    precision: str = "int8",
    revision: str | None = None,
    texts: Sequence[str] = PROBES,
) -> Exported:
    """Write the sequence classifier `source` as a model folder at `target`.

    `source` is a folder or a hub id, `revision` a hub branch, tag or commit. `precision` is
    "int8" (dynamic: 7-bit weights per channel, activations quantised as they come) or "fp32".
    Outliers of the activations are looked for on `texts` (see smooth.py); some of the kind that
    the model will see, a hundred or so, are better than the default three.
    Raises ModelError when the extra is missing, when the source is not a sequence classifier
    in safetensors, or when the written file does not agree with torch.
    """
    if precision not in PRECISIONS:
        raise ModelError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    _require_extra()
    name = Path(source).name if Path(source).is_dir() else str(source)
    checkpoint, commit = _checkpoint(source, revision)
    model, tokenizer = _load(checkpoint, name)
    with tempfile.TemporaryDirectory() as scratch:
        traced, fused = Path(scratch, "traced.onnx"), Path(scratch, "fused.onnx")
        if not (inputs := _write(model, fused)):
            inputs = _trace(model, tokenizer, traced)
            _fuse(traced, fused, model.config)
        _speed_up(fused)
        expected = _torch_logits(model, tokenizer, inputs)
        _check(_difference(fused, tokenizer, inputs, expected), FP32_TOLERANCE, name)
        written = fused
        if precision == "int8":
            written = Path(scratch, "int8.onnx")
            _smooth(fused, _encoded(tokenizer, inputs, texts))
            _quantise(fused, written)
        difference = _difference(written, tokenizer, inputs, expected)
        _check(difference, _tolerance(precision, expected), name)
        _describe(written, {"precision": precision, "source": name, "revision": commit})
        _write_folder(target, written, model.config, tokenizer)
    return Exported(
        folder=target,
        source=name,
        revision=commit,
        precision=precision,
        labels=tuple(model.config.id2label[i] for i in range(model.config.num_labels)),
        size=(target / "model.onnx").stat().st_size,
        difference=difference,
    )


def _require_extra() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise ModelError(INSTALL) from error


def _checkpoint(source: str | Path, revision: str | None) -> tuple[Path, str]:
    """The checkpoint as a folder, and its commit ("" for a folder, which has none)."""
    folder, commit = Path(source), ""
    if not folder.is_dir():
        folder = _download(str(source), revision)
        commit = folder.name  # snapshots/<commit>
    if not (folder / "config.json").is_file():
        raise ModelError(f"{source} has no config.json, so it is not a transformers checkpoint")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"{source} has no *.safetensors weights, and pickled ones are never loaded: "
            "save it with save_pretrained(..., safe_serialization=True) first"
        )
    return folder, commit


def _download(hub_id: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        found = snapshot_download(
            hub_id, revision=revision, allow_patterns=NETWORK_FILES, ignore_patterns=["*/*"]
        )
    except HFValidationError as error:
        raise ModelError(f"{hub_id} is neither a folder nor a hub id such as user/name") from error
    except LocalEntryNotFoundError as error:
        raise ModelError(f"the hub cannot be reached to fetch {hub_id}: {error}") from error
    except HfHubHTTPError as error:
        raise ModelError(f"the hub does not give {hub_id}: {error}") from error
    return Path(found)


def _load(checkpoint: Path, source: str) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        model, report = AutoModelForSequenceClassification.from_pretrained(
            checkpoint,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation="eager",  # the graph that the fusions recognise
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{source} cannot be loaded as a sequence classifier: {error}") from error
    if report["missing_keys"]:
        missing = ", ".join(sorted(report["missing_keys"])[:3])
        raise ModelError(f"{source} has no weights for {missing}: it has no classification head")
    if not tokenizer.is_fast:
        raise ModelError(f"{source} has no fast tokenizer (tokenizer.json)")
    return model.eval().float(), tokenizer


def _write(model: PreTrainedModel, path: Path) -> list[str]:
    """Write the graph of `model` to `path` without tracing; returns the names of its inputs, none
    when it is of no family that can be written."""
    import onnx

    weights = {name: values.detach().numpy() for name, values in model.named_parameters()}
    graph = written(model.config, weights)
    if graph is None:
        return []
    onnx.save(graph, str(path))
    return [each.name for each in graph.graph.input]


def _trace(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, path: Path) -> list[str]:
    """Trace `model` to `path`; returns the names of its inputs."""
    import torch

    encoded = tokenizer(list(PROBES[:2]), padding=True, return_tensors="pt")
    taken = inspect.signature(model.forward).parameters  # DistilBERT's has no token_type_ids
    names = [name for name in tokenizer.model_input_names if name in encoded and name in taken]
    axes = {0: "batch", 1: "sequence"}
    with warnings.catch_warnings():
        # About branches that were traced one way, and the exporter's age: what the traced graph
        # gives is compared with torch below.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _logits_only(model, names),
            tuple(encoded[name] for name in names),
            str(path),
            input_names=names,
            output_names=["logits"],
            dynamic_axes={**dict.fromkeys(names, axes), "logits": {0: "batch"}},
            opset_version=OPSET,
            do_constant_folding=True,
            dynamo=False,
        )
    return names


def _logits_only(model: PreTrainedModel, names: list[str]) -> torch.nn.Module:
    """`model` with its inputs by position, giving its logits and nothing else."""
    import torch

    class LogitsOnly(torch.nn.Module):  # type: ignore[misc]  # torch is not there for the checks
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            return self.model(**dict(zip(names, inputs, strict=True))).logits

    return LogitsOnly().eval()


def _fuse(traced: Path, fused: Path, config: Any) -> None:
    """Fuse attention, embeddings, layer norm and GELU where the architecture is known."""
    if config.model_type not in BERT_LIKE:
        shutil.copyfile(traced, fused)
        return
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    optimised = optimizer.optimize_model(
        str(traced),
        model_type="bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        optimization_options=FusionOptions("bert"),
        opt_level=0,
    )
    optimised.save_model_to_file(str(fused))


def _speed_up(path: Path) -> None:
    import onnx

    model = onnx.load(str(path))
    keep_first_token(model.graph)
    split_layer_norms(model.graph)
    onnx.save(model, str(path))


def _smooth(path: Path, batches: Iterable[dict[str, npt.NDArray[np.int64]]]) -> None:
    import onnx

    largest = largest_activations(path, batches)
    model = onnx.load(str(path))
    smooth(model.graph, largest)
    onnx.save(model, str(path))


def _encoded(
    tokenizer: PreTrainedTokenizerFast, inputs: list[str], texts: Sequence[str]
) -> Iterator[dict[str, npt.NDArray[np.int64]]]:
    """Each text by itself, as the model takes it."""
    for text in texts:
        encoded = tokenizer([text], return_tensors="np")
        yield {name: encoded[name].astype("int64") for name in inputs}


def _quantise(fused: Path, written: Path) -> None:
    """Dynamic int8: weights per channel, 7 bits of them.

    Reduced range because AVX2 without VNNI adds two u8 x s8 products in 16 bits, which saturate
    with full 8-bit weights. DefaultTensorType (1 is FLOAT) because the fused graph carries no
    types for its inner values.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        fused,
        written,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
        extra_options={"DefaultTensorType": 1},
    )


def _torch_logits(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, inputs: list[str]
) -> npt.NDArray[np.float32]:
    import torch

    with torch.inference_mode():
        rows = [
            model(**{name: encoded[name] for name in inputs}).logits[0]
            for encoded in (tokenizer(text, return_tensors="pt") for text in PROBES)
        ]
    logits: npt.NDArray[np.float32] = torch.stack(rows).numpy()
    return logits


def _difference(
    path: Path,
    tokenizer: PreTrainedTokenizerFast,
    inputs: list[str],
    expected: npt.NDArray[np.float32],
) -> float:
    """The largest absolute difference of the file's logits, as one padded batch, to `expected`."""
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    encoded = tokenizer(list(PROBES), padding=True, return_tensors="np")
    (logits,) = session.run(["logits"], {name: encoded[name].astype("int64") for name in inputs})
    return float(np.abs(logits - expected).max())


def _tolerance(precision: str, expected: npt.NDArray[np.float32]) -> float:
    """What the logits may differ by: int8 by a quarter of their size, or of 1 when they are small.

    That finds a broken graph; how good a quantised model is, only labelled texts say.
    """
    if precision == "fp32":
        return FP32_TOLERANCE
    return 0.25 * max(1.0, float(abs(expected).max()))


def _check(difference: float, tolerance: float, source: str) -> None:
    if not difference <= tolerance:  # also catches NaN
        raise ModelError(
            f"the ONNX file of {source} differs from torch by {difference:.3g} in its logits "
            f"(at most {tolerance:.3g} expected), so it was not written"
        )


def _describe(path: Path, metadata: dict[str, str]) -> None:
    """Put `metadata` in the ONNX file itself, so that the file says what it is."""
    import onnx

    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, str(path))


def _write_folder(
    target: Path, onnx_file: Path, config: Any, tokenizer: PreTrainedTokenizerFast
) -> None:
    target.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(target)
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()  # the server truncates to the model's length and says so
    backend.no_padding()
    backend.save(str(target / "tokenizer.json"))
    _write_tokenizer_config(target, config, tokenizer)
    shutil.copyfile(onnx_file, target / "model.onnx")


def _write_tokenizer_config(target: Path, config: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer.save_pretrained(scratch)
        written = json.loads(Path(scratch, "tokenizer_config.json").read_text(encoding="utf-8"))
    for key in SAVED_TRUNCATION:
        written.pop(key, None)
    written["model_max_length"] = _max_tokens(config, tokenizer)
    text = json.dumps(written, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    (target / "tokenizer_config.json").write_text(text, encoding="utf-8")


def _max_tokens(config: Any, tokenizer: PreTrainedTokenizerFast) -> int:
    """The most tokens a text may have: the tokenizer's word, but never past the positions."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None:
        return int(tokenizer.model_max_length)
    if config.model_type in OFFSET_POSITIONS:
        positions -= config.pad_token_id + 1
    return int(min(tokenizer.model_max_length, positions))
