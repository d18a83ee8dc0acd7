"""BentoML."""

from ...wire import listed
from ..framework import Framework

# docs.bentoml.com, "Adaptive batching": a batchable API; it finds its own window, up to the
# default max_latency_ms, which at 512 clients it needs.
PEERS = Framework(
    "bentoml",
    lambda python: [
        str(python.parent / "bentoml"), "serve", "service:Classifier",
        "--host", "127.0.0.1", "--port", "{port}",
    ],
    wire=listed("/classify"),
    settings="adaptive batching of up to 32, one worker",
    variables={"BENTOML_DO_NOT_TRACK": "True"},
).peers()  # fmt: skip
