"""Ourselves, with every answer in PostgreSQL before it is given: int8, the same in fp32, and int8
by ONNX Runtime, which is what other CPUs and models have."""

from collections.abc import Mapping
from pathlib import Path

from ..servers import Server, ours
from ..wire import OURS
from .peer import Peer, Setting

ONNX_RUNTIME = {"SENTIMENT_ENGINE": "onnxruntime"}


def _start(setting: Setting, model: Path, environment: Mapping[str, str] | None = None) -> Server:
    return ours(
        str(model),
        setting.database_url,
        setting.cores,
        record="required",
        spool=setting.scratch / "spool",
        log=setting.log,
        ready=OURS,
        environment=environment,
    )


PEERS = (
    Peer(
        name="ours",
        precision="int8",
        wire=OURS,
        settings="defaults; every answer a row in PostgreSQL",
        install=lambda: None,
        server=lambda setting: _start(setting, setting.int8),
    ),
    Peer(
        name="ours-fp32",
        precision="fp32",
        wire=OURS,
        settings="defaults; every answer a row in PostgreSQL; the fp32 file",
        install=lambda: None,
        server=lambda setting: _start(setting, setting.fp32),
    ),
    Peer(
        name="ours-ort",
        precision="int8",
        wire=OURS,
        settings="SENTIMENT_ENGINE=onnxruntime; every answer a row in PostgreSQL",
        install=lambda: None,
        server=lambda setting: _start(setting, setting.int8, ONNX_RUNTIME),
    ),
)
