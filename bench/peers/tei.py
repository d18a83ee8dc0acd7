"""Hugging Face's text-embeddings-inference, with its ONNX Runtime backend."""

import os
import shutil
from pathlib import Path

from ..servers import Server
from ..wire import TEI
from .peer import Peer, Setting, Unavailable

ROUTER = "text-embeddings-router"
# One line a request, with its spans, is its default.
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "LOG_LEVEL": "warn"}
# Texts at once beyond the first number are refused, each text of a batch counts, and the default is
# 512: here as many as 512 clients have in batches of 32, the most texts of a request. Texts of over
# 512 tokens are cut, as by us.
FLAGS = {
    "--max-concurrent-requests": "16384",
    "--max-client-batch-size": "32",
    "--auto-truncate": "true",
}


def router() -> Path:
    """The binary that `$TEI_ROUTER` names, else the one in `$PATH`.

    Raises:
        Unavailable: there is none, or it cannot be run.
    """
    named = os.environ.get("TEI_ROUTER")
    found = shutil.which(named or ROUTER)
    if found:
        return Path(found).absolute()
    if named:
        raise Unavailable(f"$TEI_ROUTER is {named}, which is no program that can be run")
    raise Unavailable(
        f"no {ROUTER} in $TEI_ROUTER or $PATH: `cargo install --path router -F ort` in a clone of "
        "github.com/huggingface/text-embeddings-inference builds one"
    )


def start(setting: Setting, model: Path) -> Server:
    """The router with a model folder of ours, which it takes as it is.

    It sees how many cores it is pinned to and takes as many threads for ONNX Runtime
    (`with_intra_threads(num_cpus::get())`, backends/ort/src/lib.rs) and one fewer, though at
    least one, for the tokeniser (router/src/lib.rs). No variable or flag sets the former.
    """
    command = [str(router()), "--model-id", str(model.absolute())]
    command += ["--hostname", "127.0.0.1", "--port", "{port}"]
    for flag, value in FLAGS.items():
        command += [flag, value]
    return Server(command, cores=setting.cores, ready=TEI, log=setting.log, environment=ENVIRONMENT)


def with_fp32(setting: Setting) -> Server:
    return start(setting, setting.fp32)


def with_int8(setting: Setting) -> Server:
    return start(setting, setting.int8)


# README, "Local install", "CPU": the ONNX backend is the recommended one on x86. Its batches have
# 8 texts at most, whatever `--max-batch-requests` says: `max_batch_size` in
# backends/ort/src/lib.rs goes before the flag in router/src/lib.rs.
PEERS = tuple(
    Peer(
        name=name,
        precision=precision,
        wire=TEI,
        settings=f"ONNX Runtime backend, its own batches of up to 8, no line a request; {what}",
        install=router,
        server=server,
    )
    for name, precision, what, server in (
        ("tei", "fp32", "our fp32 file", with_fp32),
        ("tei-int8", "int8", "our int8 file", with_int8),
    )
)
