"""A classifier as LitServe's guide to batching writes one."""

import sys

import litserve
from engines import BATCH, Rows, engine, flat


class Classifier(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.run = engine()

    def decode_request(self, request: dict[str, list[str]]) -> list[str]:
        return request["texts"]

    def predict(self, requests: list[list[str]]) -> list[Rows]:
        return flat(self.run, requests)

    def encode_response(self, rows: Rows) -> Rows:
        return rows


if __name__ == "__main__":
    server = litserve.LitServer(
        Classifier(max_batch_size=BATCH, batch_timeout=0.0), accelerator="cpu", timeout=60
    )
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", generate_client_file=False
    )
