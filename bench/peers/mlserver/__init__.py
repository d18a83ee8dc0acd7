"""MLServer with its Hugging Face runtime: torch, and ONNX Runtime through Optimum."""

import json
from pathlib import Path
from typing import Any

from ...servers import Server, free_port
from ...wire import v2
from ..environment import environment, version
from ..peer import Peer, Setting

NAME = "model"
# By this name the texts are one batch for the pipeline; by "args", which its metadata gives, they
# are as many arguments, and more than one is a 500.
WIRE = v2(NAME, tensor="array_inputs")


def start(setting: Setting, extra: dict[str, Any], **variables: str) -> Server:
    """MLServer with one model, in its own process: a worker would only take turns with it."""
    # docs.seldon.ai/mlserver, "Adaptive batching": both must be set, there is no default.
    model = {
        "name": NAME,
        "implementation": "mlserver_huggingface.HuggingFaceRuntime",
        "max_batch_size": 32,
        "max_batch_time": 0.01,
        "parameters": {"extra": {"task": "text-classification", "device": -1, **extra}},
    }
    server = {
        "host": "127.0.0.1",
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": 0,
        "debug": False,  # no line a request
    }
    setting.scratch.mkdir(parents=True, exist_ok=True)
    Path(setting.scratch, "model-settings.json").write_text(json.dumps(model))
    Path(setting.scratch, "settings.json").write_text(json.dumps(server))
    return Server(
        [str(environment("mlserver").parent / "mlserver"), "start", "."],
        cores=setting.cores,
        ready=WIRE,
        log=setting.log,
        environment={**setting.environment, "MLSERVER_HTTP_PORT": "{port}", **variables},
        folder=setting.scratch,
    )


def with_torch(setting: Setting) -> Server:
    checkpoint = str(setting.checkpoint.absolute())
    threads = {"framework": "pt", "intra_op_threads": setting.threads}
    return start(setting, {"pretrained_model": checkpoint, **threads})


def with_onnx(setting: Setting) -> Server:
    folder = str(setting.fp32.absolute())
    extra = {"pretrained_model": folder, "optimum_model": True}
    return start(setting, extra, **setting.onnx_environment)


PEERS = tuple(
    Peer(
        name=name,
        precision="fp32",
        wire=WIRE,
        settings=f"adaptive batching (32, 10 ms), parallel_workers 0, {engine}",
        install=lambda: environment("mlserver"),
        server=server,
        version=lambda: version("mlserver", "mlserver", "torch", "onnxruntime"),
    )
    for name, engine, server in (
        ("mlserver", "torch", with_torch),
        ("mlserver-onnx", "Optimum's ONNX Runtime", with_onnx),
    )
)
