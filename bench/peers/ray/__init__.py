"""Ray Serve."""

from ...wire import listed
from ..framework import Framework

# docs.ray.io, "Dynamic request batching": @serve.batch, and max_ongoing_requests no less than a
# batch, which the default of 5 would be. One replica, since there are no cores for more.
PEERS = Framework(
    "ray",
    lambda python: [str(python), "service.py", "{port}"],
    wire=listed("/classify"),
    settings="@serve.batch of up to 32 requests, no wait, 1024 ongoing, one replica",
    variables={"RAY_USAGE_STATS_ENABLED": "0"},
).peers()
