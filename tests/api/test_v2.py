"""The Open Inference Protocol by clients that others wrote: Triton's and the protocol's own."""

import gzip
import json
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton  # type: ignore[import-untyped]
import tritonclient.http.aio as triton_aio  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st
from open_inference.openapi.client import OpenInferenceClient
from open_inference.openapi.core.api_error import ApiError
from open_inference.openapi.types import InferenceRequest, RequestInput, TensorData
from tritonclient.utils import InferenceServerException  # type: ignore[import-untyped]

from sentiment_k8s.api.tensors import Tensor, pack
from sentiment_k8s.api.v2_infer import HEADER_LENGTH, outputs_of, texts_of
from sentiment_k8s.api.v2_schemas import InferAnswer, InferRequest
from sentiment_k8s.errors import RequestError
from sentiment_k8s.schemas import parse_json
from sentiment_k8s.testing import example_row

from ..fake_hub import Repository, running_hub
from ..serving import RunningServer, running_server
from ..tiny_models import write_tiny_model
from .test_predict import refused

TEXTS = ["I love this film. \u2764", "a waste of time"]
INFER = "/v2/models/bundled/infer"


@pytest.fixture
def triton_client(server: RunningServer) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(server.url.removeprefix("http://"))
    yield client
    client.close()


@pytest.fixture
async def triton_aio_client(
    server: RunningServer,
) -> AsyncIterator[triton_aio.InferenceServerClient]:
    async with triton_aio.InferenceServerClient(server.url.removeprefix("http://")) as client:
        yield client


@pytest.fixture
def open_client(server: RunningServer) -> Iterator[OpenInferenceClient]:
    with httpx.Client(timeout=30) as connection:
        yield OpenInferenceClient(base_url=server.url, httpx_client=connection)


def triton_input(*texts: str, shape: list[int] | None = None, binary: bool = True) -> Any:
    shape = shape or [len(texts)]
    tensor = triton.InferInput("text", shape, "BYTES")
    return tensor.set_data_from_numpy(np.array(texts, object).reshape(shape), binary_data=binary)


def body_of(*texts: str, **changes: object) -> dict[str, Any]:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": [*texts]}
    return {"inputs": [tensor | changes]}


class TestTritonClient:
    def test_it_finds_the_server_live_and_ready(
        self, triton_client: triton.InferenceServerClient
    ) -> None:
        assert triton_client.is_server_live()
        assert triton_client.is_server_ready()
        assert triton_client.is_model_ready("bundled")
        assert not triton_client.is_model_ready("another")

    def test_it_reads_the_metadata(
        self, triton_client: triton.InferenceServerClient, client: httpx.Client
    ) -> None:
        assert "binary_tensor_data" in triton_client.get_server_metadata()["extensions"]
        model = triton_client.get_model_metadata("bundled")
        [version] = model["versions"]
        assert version == client.get("/health").json()["model"]["revision"]
        assert triton_client.get_model_metadata("bundled", version) == model
        assert triton_client.is_model_ready("bundled", version)
        assert model["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
        assert json.loads(model["properties"]["labels"]) == ["NEGATIVE", "POSITIVE"]

    def test_at_its_defaults_it_gets_every_output_that_the_metadata_names(
        self, triton_client: triton.InferenceServerClient
    ) -> None:
        result = triton_client.infer("bundled", [triton_input(*TEXTS)], request_id="order-4711")
        assert result.get_response()["id"] == "order-4711"
        assert result.as_numpy("label").tolist() == [b"POSITIVE", b"NEGATIVE"]
        scores = result.as_numpy("scores")
        assert scores.dtype == np.float32
        assert scores.sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
        assert result.as_numpy("score").tolist() == scores.max(axis=1).tolist()
        assert result.as_numpy("truncated").tolist() == [False, False]
        metadata = triton_client.get_model_metadata("bundled")
        for output in metadata["outputs"]:
            answered = result.get_output(output["name"])
            assert answered["datatype"] == output["datatype"]
            assert answered["shape"][1:] == output["shape"][1:]

    def test_every_text_is_a_row_of_the_log(
        self, triton_client: triton.InferenceServerClient, client: httpx.Client
    ) -> None:
        result = triton_client.infer(
            "bundled", [triton_input(*TEXTS)], parameters={"subject": "person-9"}
        )
        for text, identity in zip(TEXTS, result.as_numpy("id"), strict=True):
            row = client.get(f"/predictions/{identity.decode()}").json()
            assert (row["text"], row["subject"]) == (text, "person-9")

    def test_it_may_send_and_get_json(self, triton_client: triton.InferenceServerClient) -> None:
        result = triton_client.infer(
            "bundled",
            [triton_input(*TEXTS, binary=False)],
            outputs=[
                triton.InferRequestedOutput("scores", binary_data=False),
                triton.InferRequestedOutput("label"),
            ],
        )
        assert [output["name"] for output in result.get_response()["outputs"]] == [
            "scores",
            "label",
        ]
        assert result.as_numpy("label").tolist() == [b"POSITIVE", b"NEGATIVE"]
        assert result.as_numpy("scores").shape == (2, 2)

    def test_outputs_have_the_shape_of_the_input(
        self, triton_client: triton.InferenceServerClient
    ) -> None:
        result = triton_client.infer("bundled", [triton_input(*TEXTS, shape=[2, 1])])
        assert result.as_numpy("label").tolist() == [[b"POSITIVE"], [b"NEGATIVE"]]
        assert result.as_numpy("scores").shape == (2, 2)

    @pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
    def test_it_may_compress(
        self, triton_client: triton.InferenceServerClient, algorithm: str
    ) -> None:
        result = triton_client.infer(
            "bundled",
            [triton_input(*TEXTS)],
            request_compression_algorithm=algorithm,
            response_compression_algorithm=algorithm,
        )
        assert result.as_numpy("label").tolist() == [b"POSITIVE", b"NEGATIVE"]

    def test_it_may_ask_for_a_version(self, triton_client: triton.InferenceServerClient) -> None:
        [version] = triton_client.get_model_metadata("bundled")["versions"]
        result = triton_client.infer("bundled", [triton_input(*TEXTS)], model_version=version)
        assert result.get_response()["model_version"] == version
        with pytest.raises(InferenceServerException, match=f"send {version}") as refusal:
            triton_client.infer("bundled", [triton_input(*TEXTS)], model_version="1")
        assert refusal.value.status() == "404"

    def test_it_raises_our_sentence(self, triton_client: triton.InferenceServerClient) -> None:
        with pytest.raises(InferenceServerException, match="Text 2 is blank") as refusal:
            triton_client.infer("bundled", [triton_input("a", " ")])
        assert refusal.value.status() == "400"
        with pytest.raises(InferenceServerException, match="bundled is served"):
            triton_client.infer("another", [triton_input("a")])

    def test_what_would_be_misunderstood_is_refused(
        self, triton_client: triton.InferenceServerClient
    ) -> None:
        with pytest.raises(InferenceServerException, match="classification"):
            triton_client.infer(
                "bundled",
                [triton_input("a")],
                outputs=[triton.InferRequestedOutput("scores", class_count=2)],
            )
        shared = triton.InferInput("text", [1], "BYTES").set_shared_memory("region", 64)
        with pytest.raises(InferenceServerException, match="shared_memory_region"):
            triton_client.infer("bundled", [shared])

    def test_a_text_that_may_not_be_truncated_is_too_large(
        self, triton_client: triton.InferenceServerClient
    ) -> None:
        long = triton_input("good " * 600)
        assert triton_client.infer("bundled", [long]).as_numpy("truncated").tolist() == [True]
        with pytest.raises(InferenceServerException, match="shorten it") as refusal:
            triton_client.infer("bundled", [long], parameters={"truncate": False})
        assert refusal.value.status() == "413"

    def test_its_futures_answer_too(self, triton_client: triton.InferenceServerClient) -> None:
        futures = [triton_client.async_infer("bundled", [triton_input(text)]) for text in TEXTS]
        labels = [future.get_result().as_numpy("label").tolist() for future in futures]
        assert labels == [[b"POSITIVE"], [b"NEGATIVE"]]

    async def test_its_asyncio_client_gets_the_same(
        self, triton_aio_client: triton_aio.InferenceServerClient
    ) -> None:
        assert await triton_aio_client.is_server_ready()
        assert await triton_aio_client.is_model_ready("bundled")
        result = await triton_aio_client.infer("bundled", [triton_input(*TEXTS)])
        assert result.as_numpy("label").tolist() == [b"POSITIVE", b"NEGATIVE"]


class TestOpenInferenceClient:
    def test_it_finds_the_server_and_the_model(self, open_client: OpenInferenceClient) -> None:
        open_client.check_server_liveness()
        open_client.check_server_readiness()
        open_client.check_model_readiness("bundled")
        assert open_client.read_server_metadata().name == "sentiment-k8s"
        model = open_client.read_model_metadata("bundled")
        assert model.versions
        assert [tensor.name for tensor in model.inputs or ()] == ["text"]

    def test_it_classifies(self, open_client: OpenInferenceClient) -> None:
        text = RequestInput(
            name="text",
            shape=[2],
            datatype="BYTES",
            parameters=None,
            data=TensorData.parse_obj(TEXTS),
        )
        asked = InferenceRequest(id="7", parameters=None, inputs=[text], outputs=None)
        answer = open_client.model_infer(model_name="bundled", request=asked)
        assert answer.id == "7"
        label = next(output for output in answer.outputs if output.name == "label")
        assert label.data.dict()["__root__"] == ["POSITIVE", "NEGATIVE"]

    def test_it_raises_our_sentence(self, open_client: OpenInferenceClient) -> None:
        with pytest.raises(ApiError, match="bundled is served"):
            open_client.check_model_readiness("another")


def test_a_model_from_the_hub_keeps_its_slash(tmp_path: Path) -> None:
    tiny = Repository.of_folder(write_tiny_model(tmp_path / "tiny"))
    with (
        running_hub(tiny=tiny) as hub,
        running_server(
            tmp_path / "data",
            SENTIMENT_MODEL="acme/tiny",
            SENTIMENT_RECORD="off",
            HF_ENDPOINT=hub.url,
            HF_HOME=str(tmp_path / "home"),
            HF_HUB_DISABLE_PROGRESS_BARS="1",
        ) as server,
        triton.InferenceServerClient(server.url.removeprefix("http://")) as client,
    ):
        [version] = client.get_model_metadata("acme/tiny")["versions"]
        assert version == tiny.commit
        assert client.is_model_ready("acme/tiny", version)
        result = client.infer("acme/tiny", [triton_input("good")], model_version=version)
        assert result.get_response()["model_name"] == "acme/tiny"
        assert result.as_numpy("label").tolist() == [b"POSITIVE"]
        assert result.as_numpy("id").tolist() == [b""]  # nothing is recorded


class TestInfer:
    def test_the_answer_is_what_the_schema_documents(self, client: httpx.Client) -> None:
        response = client.post(INFER, json=body_of(*TEXTS))
        assert response.headers["Content-Type"] == "application/json"
        answer = InferAnswer.model_validate_json(response.content)
        assert [output["name"] for output in answer.outputs] == [
            "label",
            "score",
            "scores",
            "id",
            "truncated",
        ]
        assert "id" not in response.json()

    def test_data_may_have_the_shape_of_the_tensor(self, client: httpx.Client) -> None:
        response = client.post(INFER, json=body_of("", shape=[2, 1], data=[["good"], ["bad"]]))
        assert response.json()["outputs"][0]["shape"] == [2, 1]

    def test_null_stands_for_nothing(self, client: httpx.Client) -> None:
        body = body_of("good", parameters=None) | {"id": None, "parameters": None, "outputs": None}
        assert client.post(INFER, json=body).status_code == 200

    def test_what_others_added_to_the_protocol_is_not_looked_at(self, client: httpx.Client) -> None:
        body = body_of("good", parameters={"content_type": "str"})
        body |= {"parameters": {"priority": 1, "timeout": 1000}, "model_name": "bundled"}
        assert client.post(INFER, json=body).status_code == 200

    @pytest.mark.parametrize(
        "changes",
        [
            {"name": "args"},
            {"datatype": "FP32", "data": [1.5]},
            {"datatype": "INT64"},
            {"shape": []},
            {"shape": [1, 2]},
            {"shape": [1, 1, 1]},
            {"shape": [1] * 1000},
            {"shape": [2]},
            {"shape": [-1]},
            {"shape": [1_000_000_000]},
            {"shape": [10**30]},
            {"shape": [1.5]},
            {"shape": ["1"]},
            {"shape": None},
            {"data": None},
            {"data": "good"},
            {"data": [1]},
            {"data": [None]},
            {"data": [["good", "bad"]]},
            {"data": [[["good"]]]},
            {"data": {"0": "good"}},
            {"data": ["a\0b"]},
            {"shape": [0], "data": []},
            {"parameters": {"binary_data_size": 0}},
            {"parameters": {"binary_data_size": -1}},
            {"parameters": {"binary_data_size": "4"}},
            {"data": None, "parameters": {"binary_data_size": 10**12}},
            {"parameters": []},
        ],
        ids=str,
    )
    def test_a_wrong_tensor_is_refused(
        self, client: httpx.Client, changes: dict[str, object]
    ) -> None:
        refused(client.post(INFER, json=body_of("good") | body_of("good", **changes)), 400)

    @pytest.mark.parametrize(
        "changes",
        [
            {"inputs": []},
            {"inputs": None},
            {"inputs": body_of("a")["inputs"] * 2},
            {"inputs": body_of("a")["inputs"] * 100},
            {"outputs": [{"name": "logits"}]},
            {"outputs": [{"name": "label"}, {"name": "label"}]},
            {"outputs": [{"name": "scores"}] * 1000},
            {"outputs": [{}]},
            {"outputs": [{"name": "label", "parameters": {"binary_data": "yes"}}]},
            {"parameters": {"binary_data_output": 1}},
            {"parameters": {"subject": "a" * 257}},
            {"id": 7},
        ],
        ids=str,
    )
    def test_a_wrong_request_is_refused(
        self, client: httpx.Client, changes: dict[str, object]
    ) -> None:
        refused(client.post(INFER, json=body_of("good") | changes), 400)

    @pytest.mark.parametrize(
        "content",
        [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"inputs": ' + b"[" * 100_000],
        ids=lambda content: repr(content[:20]),
    )
    def test_a_body_that_is_no_request_is_refused(
        self, client: httpx.Client, content: bytes
    ) -> None:
        refused(client.post(INFER, content=content), 400)

    def test_too_many_texts_are_refused(self, client: httpx.Client) -> None:
        assert "256 are allowed" in refused(client.post(INFER, json=body_of(*["a"] * 257)), 413)

    def test_a_key_is_refused_for_what_a_key_may_not_be(self, client: httpx.Client) -> None:
        headers = {"Idempotency-Key": " ".join("ab")}
        refused(client.post(INFER, json=body_of("a"), headers=headers), 400)

    def test_the_pattern_of_a_path_is_no_path(self, client: httpx.Client) -> None:
        path = "/v2/models/{name:model}/infer"
        assert "bundled is served" in refused(client.post(path, json=body_of("a")), 404)

    @pytest.mark.parametrize("path", [INFER, "/v2/models/acme/tiny/versions/1/infer"])
    def test_to_get_where_to_post_is_a_wrong_method(self, client: httpx.Client, path: str) -> None:
        response = client.get(path)
        refused(response, 405)
        assert response.headers["Allow"] == "POST"

    def test_the_routes_are_documented(self, client: httpx.Client) -> None:
        paths = client.get("/openapi.json").json()["paths"]
        infer = paths["/v2/models/{name}/versions/{version}/infer"]["post"]
        names = [each["name"] for each in infer["parameters"]]
        assert names == ["name", "version", "Idempotency-Key"]
        body = infer["requestBody"]["content"]["application/json"]["schema"]
        assert set(body["properties"]) == {"id", "parameters", "inputs", "outputs"}
        assert "$ref" not in str(body)
        assert "application/octet-stream" in infer["responses"]["200"]["content"]


class TestBinary:
    """What tritonclient would never send."""

    @staticmethod
    def post(
        client: httpx.Client, data: bytes, size: object, header: object = None, **changes: object
    ) -> httpx.Response:
        changes = {"data": None, "parameters": {"binary_data_size": size}} | changes
        head = json.dumps(body_of("x", **changes)).encode()
        headers = {HEADER_LENGTH: str(len(head) if header is None else header)}
        return client.post(INFER, content=head + data, headers=headers)

    def test_bytes_follow_the_json(self, client: httpx.Client) -> None:
        assert self.post(client, b"\x04\0\0\0good", 8).status_code == 200

    @pytest.mark.parametrize(
        ("data", "size"),
        [
            (b"\x04\0\0\0good", 7),
            (b"\x04\0\0\0good", 9),
            (b"\x04\0\0\0good", -8),
            (b"\x04\0\0\0good", 10**18),
            (b"\x05\0\0\0good", 8),
            (b"\x03\0\0\0good", 8),
            (b"\xff\xff\xff\xffgood", 8),
            (b"\x04\0\0", 3),
            (b"\x04\0\0\0go\xff\xfe", 8),
            (b"\x04\0\0\0g\0od", 8),
            (b"\0\0\0\0", 4),
            (b"\0\0\0\0" * 100_000, 400_000),
            (b"", 0),
        ],
        ids=lambda value: repr(value)[:24],
    )
    def test_data_that_lies_is_refused(self, client: httpx.Client, data: bytes, size: int) -> None:
        refused(self.post(client, data, size), 400)

    @pytest.mark.parametrize("header", [0, -1, "x", 10**9, 3, "9" * 5000])
    def test_a_header_that_lies_is_refused(self, client: httpx.Client, header: object) -> None:
        refused(self.post(client, b"\x04\0\0\0good", 8, header), 400)

    def test_data_without_a_header_is_refused(self, client: httpx.Client) -> None:
        head = json.dumps(body_of("x", data=None, parameters={"binary_data_size": 8})).encode()
        refused(client.post(INFER, content=head + b"\x04\0\0\0good"), 400)

    def test_a_thousand_million_elements_cost_nothing(self, client: httpx.Client) -> None:
        response = self.post(client, b"\x04\0\0\0good", 8, shape=[1_000_000_000])
        assert "the shape" in refused(response, 400)


class TestCompression:
    @staticmethod
    def post(client: httpx.Client, content: bytes, encoding: str) -> httpx.Response:
        return client.post(INFER, content=content, headers={"Content-Encoding": encoding})

    def test_what_unpacks_to_more_than_a_body_may_have_is_too_large(
        self, client: httpx.Client
    ) -> None:
        bomb = gzip.compress(b" " * 2**28)
        assert "2097152 bytes" in refused(self.post(client, bomb, "gzip"), 413)

    @pytest.mark.parametrize(
        ("content", "encoding"),
        [
            (b"{}", "gzip"),
            (b"", "gzip"),
            (gzip.compress(b"{}")[:-1], "gzip"),
            (gzip.compress(b"{}") + b"more", "gzip"),
            (zlib.compress(b"{}")[2:], "deflate"),
            (b"{}", "br"),
            (b"{}", "gzip, gzip"),
        ],
        ids=repr,
    )
    def test_what_cannot_be_unpacked_is_refused(
        self, client: httpx.Client, content: bytes, encoding: str
    ) -> None:
        refused(self.post(client, content, encoding), 400)


def test_scores_are_in_the_order_of_the_labels_also_when_the_row_comes_from_the_log() -> None:
    row = example_row(scores={"POSITIVE": 0.75, "NEGATIVE": 0.25})
    outputs = outputs_of([row], ["NEGATIVE", "POSITIVE"], [1], recorded=True)
    assert outputs["scores"].data == [0.25, 0.75]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {
            "name": st.just("text"),
            "datatype": st.just("BYTES"),
            "shape": st.lists(st.integers(-1, 3), max_size=3) | JSON,
        },
        optional={
            "data": st.lists(st.text(max_size=3) | st.lists(st.text(max_size=3))) | JSON,
            "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 20) | JSON}),
        },
    ),
    st.binary(max_size=20),
)
@settings(max_examples=300)
def test_any_tensor_is_texts_or_refused(tensor: dict[str, Any], data: bytes) -> None:
    try:
        asked = parse_json(InferRequest, json.dumps({"inputs": [tensor]}).encode())
        texts = texts_of(asked.inputs, data)
    except RequestError:
        return
    assert len(texts) == asked.inputs[0].shape[0]
    assert pack(Tensor("text", "BYTES", [len(texts)], texts)) == data or not data
