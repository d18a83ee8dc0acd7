"""A classifier as BentoML's guide to adaptive batching writes one."""

import bentoml
from engines import BATCH, Rows, engine


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Classifier:
    def __init__(self) -> None:
        self.run = engine()

    @bentoml.api(batchable=True, max_batch_size=BATCH)
    def classify(self, texts: list[str]) -> Rows:
        return self.run(texts)
