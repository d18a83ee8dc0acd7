"""Infinity: its torch engine, and its engine for ONNX Runtime with an fp32 and an int8 file."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from ...servers import Server
from ...wire import infinity
from ..environment import environment, version
from ..peer import Peer, Setting

NAME = "model"
WIRE = infinity(NAME)
# Its own warm-up has texts of over 512 tokens, which this engine does not truncate.
ONNX = ("--engine", "optimum", "--no-model-warmup")


def start(setting: Setting, model: Path, flags: Sequence[str], **variables: str) -> Server:
    """Infinity with a model folder. Batches of up to 32 are its default; no cache of answers is.

    It runs in that folder: its ONNX engine takes no absolute path from Optimum 2 on.
    """
    command = [str(environment("infinity").parent / "infinity_emb"), "v2"]
    command += ["--model-id", ".", "--served-model-name", NAME]
    command += ["--device", "cpu", "--host", "127.0.0.1", "--port", "{port}"]
    command += ["--log-level", "warning"]  # no line a request
    return Server(
        [*command, *flags],
        cores=setting.cores,
        ready=WIRE,
        log=setting.log,
        environment={
            **setting.environment,
            "INFINITY_ANONYMOUS_USAGE_STATS": "0",
            "HF_HOME": str(setting.scratch),  # where it keeps the file that it has optimised
            **variables,
        },
        folder=model,
    )


def with_torch(setting: Setting) -> Server:
    return start(setting, setting.checkpoint, ("--engine", "torch"))


def with_onnx(setting: Setting) -> Server:
    folder = _folder(setting, setting.fp32, "model.onnx")
    return start(setting, folder, ONNX, **setting.onnx_environment)


def with_int8(setting: Setting) -> Server:
    # On a CPU it takes a file with "quantize" in its name before any other.
    folder = _folder(setting, setting.int8, "model_quantized.onnx")
    return start(setting, folder, ONNX, **setting.onnx_environment)


def _folder(setting: Setting, model: Path, name: str) -> Path:
    """A copy of an ONNX folder, with the file's name that Infinity looks for."""
    folder = setting.scratch / "model"
    if not folder.exists():
        shutil.copytree(model, folder)
        (folder / "model.onnx").rename(folder / name)
    return folder


# Its author's model card of michaelfeil/bge-small-en-v1.5 recommends the optimum engine on a CPU.
PEERS = tuple(
    Peer(
        name=name,
        precision=precision,
        wire=WIRE,
        settings=settings,
        install=lambda: environment("infinity"),
        server=server,
        version=lambda: version("infinity", "infinity-emb", "torch", "onnxruntime"),
    )
    for name, precision, settings, server in (
        (
            "infinity",
            "fp32",
            "torch engine, its defaults, BetterTransformer",
            with_torch,
        ),
        ("infinity-onnx", "fp32", "optimum engine, its own optimisation", with_onnx),
        ("infinity-int8", "int8", "optimum engine with our int8 file", with_int8),
    )
)
