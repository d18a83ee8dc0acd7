"""The forms of text-embeddings-inference and of Hugging Face: `inputs` in the body.

`parameters`, or the path `/`, make it Hugging Face's form: every text answers a list in a list, and
a list of strings is a batch. Otherwise it is text-embeddings-inference's: a string answers a flat
list, and a list of two strings is one sentence pair.
"""

from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from .. import __version__
from ..errors import RequestError
from ..model import ProblemType, sigmoid, softmax
from ..pipeline import check_texts
from ..schemas import LabelScore, Subject, Texts, parse_json
from ..service import Service, threads_of
from ..tokenizer import Pair
from .call import Call, Handler, over_asgi
from .classifier import Classifier, with_key
from .http import LeanRoute, documented_body, documented_errors, json_response

Function = Literal["softmax", "sigmoid", "none"]
# As transformers has it.
USUAL: dict[ProblemType, Function] = {
    "single_label_classification": "softmax",
    "multi_label_classification": "sigmoid",
    "regression": "none",
}
Inputs = str | Annotated[list[str | Texts], Field(fail_fast=True)]


class InferenceParameters(BaseModel):
    """Hugging Face's parameters of text classification."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    top_k: Annotated[
        int | None, Field(ge=1, description="This many labels, best first; all by default.")
    ] = None
    function_to_apply: Annotated[
        Function | None, Field(description="From logits to scores; by default the model's own.")
    ] = None
    return_all_scores: Annotated[
        bool | None, Field(description="Older than `top_k`: false asks for one label.")
    ] = None
    truncation: Annotated[bool | None, Field(description="The same as `truncate`.")] = None


class InferenceRequest(BaseModel):
    """A request in either form."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    inputs: Annotated[
        Inputs,
        Field(
            description='A text; a pair of texts, `["a", "b"]`; or a batch of both, '
            '`[["a"], ["b", "c"]]`. In the Hugging Face form `["a", "b"]` is a batch too.',
            examples=["I love AI!"],
        ),
    ]
    parameters: Annotated[
        InferenceParameters | None, Field(description="Makes it the Hugging Face form.")
    ] = None
    truncate: Annotated[
        bool | None,
        Field(description="Cut a text that is longer than the model takes; else it is 413."),
    ] = None
    truncation_direction: Annotated[
        Literal["right", "Right", "left", "Left"],
        Field(description="Only the end is ever cut: with `left`, a text too long is 413."),
    ] = "right"
    raw_scores: Annotated[bool, Field(description="Answer logits instead of scores.")] = False
    options: Annotated[dict[str, Any] | None, Field(description="Not looked at.")] = None
    subject: Subject = None

    @property
    def cut(self) -> bool:
        """Whether a text that is too long is cut at its end."""
        asked = (self.truncate, self.parameters and self.parameters.truncation)
        return False not in asked and self.truncation_direction in ("right", "Right")

    @property
    def top_k(self) -> int | None:
        """How many labels to answer; None for all."""
        if self.parameters is None:
            return None
        if self.parameters.return_all_scores is False:
            return self.parameters.top_k or 1
        return self.parameters.top_k

    def function(self, usual: Function) -> Function:
        """What makes scores of logits, where `usual` is the model's own."""
        if self.parameters is not None and self.parameters.function_to_apply is not None:
            return self.parameters.function_to_apply
        return "none" if self.raw_scores else usual


def hugging_face(classifier: Classifier, service: Service) -> Handler:
    """What answers as Hugging Face's InferenceClient asks."""

    async def handler(call: Call) -> Response:
        return await answer(classifier, service, call, parse_json(InferenceRequest, call.body))

    return handler


def router(classifier: Classifier, service: Service) -> APIRouter:
    """`POST /` and `GET /info`; `POST /predict` is in predict.py."""
    routes = APIRouter(route_class=LeanRoute, tags=["predict"])
    routes.post(
        "/",
        name="hugging_face",
        summary="Classify as Hugging Face's InferenceClient asks",
        response_model=list[list[LabelScore]],
        responses=documented_errors(400, 408, 413, 422, 429, 500, 503, 504),
        openapi_extra=with_key(documented_body(InferenceRequest)),
    )(over_asgi(hugging_face(classifier, service), classifier.bodies))

    @routes.get(
        "/info",
        summary="The model, as text-embeddings-inference tells it",
        responses=documented_errors(503),
    )
    async def info(_: Request) -> Response:
        return json_response(information(service))

    return routes


async def answer(
    classifier: Classifier,
    service: Service,
    call: Call,
    asked: InferenceRequest,
) -> Response:
    """Classify, and answer in the form in which was asked.

    Raises:
        SentimentError: as `Classifier.classify` says.
    """
    nested = asked.parameters is not None or call.path == "/"
    if isinstance(asked.inputs, list):
        classifier.check_number(asked.inputs)
    texts, batch = texts_of(asked.inputs, pairs=not nested)
    usual = USUAL[service.pipeline.model.info.problem_type]
    function = asked.function(usual)
    logits: list[list[float]] | None = None
    if function != usual:
        if classifier.recorded and call.values(b"idempotency-key"):
            raise RequestError(
                "The log keeps the model's own scores, so an answer with others cannot be given "
                "again: leave out the Idempotency-Key, or raw_scores and function_to_apply."
            )
        logits = []
    rows = await classifier.classify(
        call, texts, truncate=asked.cut, subject=asked.subject, logits=logits
    )
    scores = [row.scores for row in rows]
    if logits is not None:
        scores = [
            dict(zip(row.scores, applied(function, own), strict=True))
            for row, own in zip(rows, logits, strict=True)
        ]
    answers = [ranked(each, asked.top_k) for each in scores]
    return json_response(answers if nested or batch else answers[0])


def texts_of(inputs: str | list[str | list[str]], *, pairs: bool) -> tuple[list[str], bool]:
    """The texts of `inputs`, and whether they are a batch.

    Args:
        inputs: as they were sent.
        pairs: two strings are one sentence pair, not two texts.

    Raises:
        InputError: half a pair is blank, or cannot be kept.
        RequestError: none of the shapes that there are.
    """
    if isinstance(inputs, str):
        return [inputs], False
    strings = [item for item in inputs if isinstance(item, str)]
    if len(strings) != len(inputs):
        return [_text(item) for item in inputs], True
    if pairs and strings:
        return [_text(strings)], False
    return strings, True


def _text(parts: str | list[str]) -> str:
    """One text, or two as a pair."""
    match parts:
        case [str(text)]:
            return text
        case [str(first), str(second)]:
            check_texts([first, second])
            return Pair(first, second)
    raise RequestError('inputs: send a text, or a batch as [["a"], ["b"]].')


def applied(function: Function, logits: list[float]) -> list[float]:
    """Scores of one text's logits, rounded as all scores are."""
    values = np.asarray(logits, np.float32)
    match function:
        case "softmax":
            values = softmax(values)
        case "sigmoid":
            values = sigmoid(values)
    rounded: list[float] = np.round(values.astype(np.float64), 6).tolist()
    return rounded


def ranked(scores: dict[str, float], top_k: int | None) -> list[dict[str, object]]:
    """Labels with their scores, best first.

    Args:
        scores: by label.
        top_k: how many; None for all.
    """
    best = sorted(scores.items(), key=lambda pair: -pair[1])[:top_k]
    return [{"label": label, "score": score} for label, score in best]


def information(service: Service) -> dict[str, object]:
    """What text-embeddings-inference's clients ask a server before they size their batches."""
    model, settings = service.pipeline.model.info, service.settings
    return {
        "model_id": model.id,
        "model_sha": model.revision,
        "model_dtype": model.precision,
        "served_model_name": model.id,
        "model_type": {
            "classifier": {
                "id2label": {str(index): label for index, label in enumerate(model.labels)},
                "label2id": {label: index for index, label in enumerate(model.labels)},
            }
        },
        # Of the longest texts; of shorter ones, more.
        "max_concurrent_requests": max(1, settings.max_tokens_in_flight // model.max_tokens),
        "max_input_length": model.max_tokens,
        "max_batch_tokens": settings.token_budget,
        "max_batch_requests": None,
        "max_client_batch_size": settings.max_texts,
        "auto_truncate": True,
        "tokenization_workers": threads_of(settings),
        "version": __version__,
        "sha": None,
        "docker_label": None,
    }
