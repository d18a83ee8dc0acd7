"""LitServe."""

from ...wire import listed
from ..framework import Framework

# lightning.ai/docs/litserve/features/batching: max_batch_size and batch_timeout. With the default
# timeout of 0 a batch is what waits, which costs one client nothing.
PEERS = Framework(
    "litserve",
    lambda python: [str(python), "service.py", "{port}"],
    wire=listed("/predict"),
    settings="batches of up to 32 requests, no wait, one worker",
).peers()
