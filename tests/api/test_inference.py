"""text-embeddings-inference's form and Hugging Face's, by its own client."""

import json
import math
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from sentiment_k8s.api.inference import InferenceRequest, applied, ranked, texts_of
from sentiment_k8s.errors import RequestError
from sentiment_k8s.schemas import Answer, parse_json
from sentiment_k8s.tokenizer import Pair

from ..serving import RunningServer
from .test_predict import refused

TEXT = "I love this film."


@pytest.fixture(params=[{}, {"Connection": "close"}], ids=["directly", "the usual way"])
def client(server: RunningServer, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """Its requests are answered without a framework in between, or with one."""
    with httpx.Client(base_url=server.url, timeout=30, headers=request.param) as client:
        yield client


@pytest.fixture
def hugging_face(server: RunningServer) -> InferenceClient:
    return InferenceClient(model=server.url)


def predict(client: httpx.Client, body: object) -> Any:
    response = client.post("/predict", json=body)
    assert response.status_code == 200, response.text
    return response.json()


class TestHuggingFace:
    def test_its_client_gets_every_label_best_first(self, hugging_face: InferenceClient) -> None:
        best, other = hugging_face.text_classification(TEXT)
        assert (best.label, other.label) == ("POSITIVE", "NEGATIVE")
        assert best.score > 0.5
        assert best.score + other.score == pytest.approx(1, abs=1e-5)

    def test_its_client_may_post_to_predict_too(self, server: RunningServer) -> None:
        client = InferenceClient(model=f"{server.url}/predict")
        assert client.text_classification(TEXT)[0].label == "POSITIVE"

    async def test_its_asynchronous_client_gets_the_same(self, server: RunningServer) -> None:
        async with AsyncInferenceClient(model=server.url) as client:
            answer = await client.text_classification(TEXT)
        assert answer[0].label == "POSITIVE"

    def test_top_k_is_so_many_labels(self, hugging_face: InferenceClient) -> None:
        [best] = hugging_face.text_classification(TEXT, top_k=1)
        assert best.label == "POSITIVE"

    def test_a_function_makes_other_scores_of_the_same_logits(
        self, hugging_face: InferenceClient
    ) -> None:
        raw = hugging_face.text_classification(TEXT, function_to_apply="none")
        softmax = hugging_face.text_classification(TEXT, function_to_apply="softmax")
        sigmoid = hugging_face.text_classification(TEXT, function_to_apply="sigmoid")
        total = sum(math.exp(each.score) for each in raw)
        for logit, share, alone in zip(raw, softmax, sigmoid, strict=True):
            assert share.score == pytest.approx(math.exp(logit.score) / total, abs=1e-5)
            assert alone.score == pytest.approx(1 / (1 + math.exp(-logit.score)), abs=1e-5)

    def test_its_client_raises_our_sentence(self, hugging_face: InferenceClient) -> None:
        with pytest.raises(HfHubHTTPError, match="blank") as refusal:
            hugging_face.text_classification(" ")
        assert refusal.value.response.status_code == 400

    def test_strings_are_a_batch(self, client: httpx.Client) -> None:
        answer = client.post("/", json={"inputs": [TEXT, "a waste of time"]}).json()
        assert [best["label"] for best, _ in answer] == ["POSITIVE", "NEGATIVE"]

    def test_one_string_in_a_list_is_a_batch_of_one(self, client: httpx.Client) -> None:
        [[best]] = predict(client, {"inputs": [TEXT], "parameters": {"top_k": 1}})
        assert best["label"] == "POSITIVE"

    def test_older_clients_ask_for_one_label_in_their_way(self, client: httpx.Client) -> None:
        body = {"inputs": TEXT, "parameters": {"return_all_scores": False}}
        assert len(predict(client, body)[0]) == 1
        body = {"inputs": TEXT, "parameters": {"return_all_scores": True}}
        assert len(predict(client, body)[0]) == 2

    def test_options_of_the_hub_change_nothing(self, client: httpx.Client) -> None:
        body = {"inputs": TEXT, "options": {"wait_for_model": True, "use_cache": False}}
        assert client.post("/", json=body).json() == client.post("/", json={"inputs": TEXT}).json()

    def test_a_text_that_may_not_be_truncated_is_too_large(self, client: httpx.Client) -> None:
        body = {"inputs": "good " * 600, "parameters": {"truncation": False}}
        assert "shorten it" in refused(client.post("/", json=body), 413)

    def test_an_unknown_parameter_is_refused_by_name(self, client: httpx.Client) -> None:
        body = {"inputs": TEXT, "parameters": {"topk": 1}}
        assert "parameters.topk" in refused(client.post("/predict", json=body), 400)

    def test_a_body_without_inputs_is_refused(self, client: httpx.Client) -> None:
        assert "inputs" in refused(client.post("/", json={"text": TEXT}), 400)

    def test_the_page_is_still_there(self, client: httpx.Client) -> None:
        assert client.get("/").headers["Content-Type"].startswith("text/html")


class TestTextEmbeddingsInference:
    def test_a_string_answers_a_flat_list_best_first(self, client: httpx.Client) -> None:
        best, other = predict(client, {"inputs": TEXT})
        assert set(best) == {"label", "score"}
        assert (best["label"], other["label"]) == ("POSITIVE", "NEGATIVE")

    def test_one_string_in_a_list_answers_a_flat_list(self, client: httpx.Client) -> None:
        assert predict(client, {"inputs": [TEXT]}) == predict(client, {"inputs": TEXT})

    def test_lists_of_one_string_are_a_batch(self, client: httpx.Client) -> None:
        answer = predict(client, {"inputs": [[TEXT], ["a waste of time"]]})
        assert [best["label"] for best, _ in answer] == ["POSITIVE", "NEGATIVE"]
        assert len(predict(client, {"inputs": [[TEXT]]})) == 1

    def test_two_strings_are_one_pair(self, client: httpx.Client) -> None:
        best, _ = predict(client, {"inputs": [TEXT, "A waste of time."]})
        assert set(best) == {"label", "score"}
        [row] = client.get("/predictions", params={"limit": 1}).json()["predictions"]
        assert json.loads(row["text"]) == [TEXT, "A waste of time."]
        [alone] = predict(client, {"inputs": [[row["text"]]]})
        assert best != alone[0]

    def test_a_batch_may_have_pairs(self, client: httpx.Client) -> None:
        pair, alone = predict(client, {"inputs": [[TEXT, "Very dull."], [TEXT]]})
        assert (pair[0]["label"], alone[0]["label"]) == ("NEGATIVE", "POSITIVE")

    def test_half_a_pair_may_not_be_blank(self, client: httpx.Client) -> None:
        body = {"inputs": [TEXT, " "]}
        assert "Text 2 is blank" in refused(client.post("/predict", json=body), 400)

    @pytest.mark.parametrize(
        "inputs", [["a", "b", "c"], [[]], [["a", "b", "c"]], ["a", ["b"]], [["a"], "b"]]
    )
    def test_any_other_shape_is_refused(self, client: httpx.Client, inputs: object) -> None:
        assert "batch as" in refused(client.post("/predict", json={"inputs": inputs}), 400)

    @pytest.mark.parametrize("inputs", [None, 1, {"text": "a"}, [1], [["a", 1]], [[["a"]]]])
    def test_what_is_no_text_is_refused(self, client: httpx.Client, inputs: object) -> None:
        assert "inputs" in refused(client.post("/predict", json={"inputs": inputs}), 400)

    def test_no_input_is_refused(self, client: httpx.Client) -> None:
        assert "no text" in refused(client.post("/predict", json={"inputs": []}), 400)

    def test_raw_scores_are_logits(self, client: httpx.Client) -> None:
        raw = predict(client, {"inputs": TEXT, "raw_scores": True})
        total = sum(math.exp(each["score"]) for each in raw)
        for logit, score in zip(raw, predict(client, {"inputs": TEXT}), strict=True):
            assert score["label"] == logit["label"]
            assert score["score"] == pytest.approx(math.exp(logit["score"]) / total, abs=1e-5)

    def test_raw_scores_cannot_be_asked_for_by_a_key(self, client: httpx.Client) -> None:
        response = client.post(
            "/predict",
            json={"inputs": TEXT, "raw_scores": True},
            headers={"Idempotency-Key": "order-4711"},
        )
        assert "Idempotency-Key" in refused(response, 400)

    def test_a_long_text_is_cut_unless_truncate_is_false(self, client: httpx.Client) -> None:
        long = "good " * 600
        assert predict(client, {"inputs": long})[0]["label"] == "POSITIVE"
        assert predict(client, {"inputs": long, "truncate": None})[0]["label"] == "POSITIVE"
        body = {"inputs": long, "truncate": False}
        assert "shorten it" in refused(client.post("/predict", json=body), 413)

    def test_a_beginning_is_never_cut(self, client: httpx.Client) -> None:
        body = {"inputs": TEXT, "truncation_direction": "Left"}
        assert predict(client, body)[0]["label"] == "POSITIVE"
        body["inputs"] = "good " * 600
        assert "shorten it" in refused(client.post("/predict", json=body), 413)

    def test_too_many_texts_are_refused(self, client: httpx.Client) -> None:
        body = {"inputs": [["a", "b"]] * 100_000}
        assert "256 are allowed" in refused(client.post("/predict", json=body), 413)

    def test_its_answers_are_rows_of_the_log(self, client: httpx.Client) -> None:
        predict(client, {"inputs": [["tei one"], ["tei two"]], "subject": "person-8"})
        rows = client.get("/predictions", params={"limit": 2}).json()["predictions"]
        assert [row["text"] for row in rows] == ["tei two", "tei one"]
        assert rows[0]["subject"] == "person-8"

    def test_info_tells_the_model_and_the_limits(self, client: httpx.Client) -> None:
        info = client.get("/info").json()
        model = client.get("/health").json()["model"]
        assert info["model_id"] == model["id"]
        assert info["model_sha"] == model["revision"]
        assert info["model_type"] == {
            "classifier": {
                "id2label": {"0": "NEGATIVE", "1": "POSITIVE"},
                "label2id": {"NEGATIVE": 0, "POSITIVE": 1},
            }
        }
        assert info["max_input_length"] == model["max_tokens"]
        assert info["max_client_batch_size"] == 256
        assert info["auto_truncate"] is True


def test_our_own_form_is_as_it_was(client: httpx.Client) -> None:
    response = client.post("/predict", json={"text": '"inputs"'})
    assert Answer.model_validate_json(response.content).text == '"inputs"'


def test_text_and_inputs_together_are_refused(client: httpx.Client) -> None:
    body = {"text": "a", "inputs": "b"}
    assert "'text'" in refused(client.post("/predict", json=body), 400)


def test_both_forms_are_documented(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    body = paths["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert [
        set(form["properties"]) >= {name}
        for form, name in zip(body["oneOf"], ["text", "inputs"], strict=True)
    ] == [True, True]
    assert "$ref" not in str(body)
    assert "post" in paths["/"]


def test_a_million_wrong_inputs_are_described_once() -> None:
    body = b'{"inputs": [' + b",".join([b"1"] * 1_000_000) + b"]}"
    with pytest.raises(RequestError, match="inputs"):
        parse_json(InferenceRequest, body)


def test_two_strings_are_two_texts_or_one_pair() -> None:
    assert texts_of(["a", "b"], pairs=False) == (["a", "b"], True)
    [pair], batch = texts_of(["a", "b"], pairs=True)
    assert isinstance(pair, Pair)
    assert (pair.first, pair.second, batch) == ("a", "b", False)


def test_equal_scores_keep_the_order_of_the_labels() -> None:
    assert [each["label"] for each in ranked({"a": 0.5, "b": 0.5}, None)] == ["a", "b"]


def test_a_function_is_applied_to_one_texts_logits() -> None:
    assert applied("none", [-1.5, 2.0]) == [-1.5, 2.0]
    assert applied("softmax", [0.0, math.log(3)]) == pytest.approx([0.25, 0.75])
    assert applied("sigmoid", [0.0, math.log(3)]) == pytest.approx([0.5, 0.75])
