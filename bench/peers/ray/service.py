"""A classifier as Ray Serve's guide to dynamic request batching writes one."""

import os
import sys

import ray
from engines import BATCH, Rows, engine, flat
from ray import serve
from starlette.requests import Request

CORES = int(os.environ["THREADS"])


@serve.deployment(
    max_ongoing_requests=1024,
    ray_actor_options={"num_cpus": CORES},
    logging_config={"enable_access_log": False},
)
class Classifier:
    def __init__(self) -> None:
        self.run = engine()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=0.0)
    async def classify(self, requests: list[list[str]]) -> list[Rows]:
        return flat(self.run, requests)

    async def __call__(self, request: Request) -> Rows:
        return await self.classify((await request.json())["texts"])


if __name__ == "__main__":
    ray.init(num_cpus=CORES, include_dashboard=False, object_store_memory=100_000_000)
    serve.start(
        http_options={"host": "127.0.0.1", "port": int(sys.argv[1])},
        logging_config={"enable_access_log": False},
    )
    serve.run(Classifier.bind(), route_prefix="/classify", blocking=True)
