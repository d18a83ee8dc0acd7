"""`GET /predict?text=...`, the book's call, and `POST /predict` for one text or many, or in the
form of another protocol (inference.py)."""

from fastapi import APIRouter
from starlette.responses import Response

from ..schemas import (
    Answer,
    Answers,
    LabelScore,
    PredictOptions,
    PredictQuery,
    PredictRequest,
    answer,
    parse_json_with,
    parse_strings,
)
from ..service import Service
from . import inference
from .call import Call, over_asgi
from .classifier import Classifier, with_key
from .http import (
    LeanRoute,
    documented_body,
    documented_errors,
    documented_query,
    json_response,
    query_parameters,
)
from .inference import InferenceRequest


class Predict:
    """Answers `/predict`.

    Args:
        classifier: texts to rows.
        service: the parts of the server.
    """

    def __init__(self, classifier: Classifier, service: Service) -> None:
        self._classifier = classifier
        self._service = service

    async def query(self, call: Call) -> Response:
        """`GET /predict?text=...`"""
        query = parse_strings(PredictQuery, query_parameters(call.query))
        [one] = await self._classify(call, [query.text], query)
        return json_response(one)

    async def body(self, call: Call) -> Response:
        """`POST /predict`"""
        body = parse_json_with("inputs", InferenceRequest, PredictRequest, call.body)
        if isinstance(body, InferenceRequest):
            return await inference.answer(self._classifier, self._service, call, body)
        if body.texts is not None:
            return json_response({"predictions": await self._classify(call, body.texts, body)})
        [one] = await self._classify(call, [body.text or ""], body)
        return json_response(one)

    async def _classify(
        self, call: Call, texts: list[str], options: PredictOptions
    ) -> list[dict[str, object]]:
        rows = await self._classifier.classify(
            call, texts, truncate=options.truncate, subject=options.subject
        )
        return [
            answer(text, row, options.top_k, recorded=self._classifier.recorded)
            for text, row in zip(texts, rows, strict=True)
        ]


def router(classifier: Classifier, service: Service) -> APIRouter:
    """The routes that classify."""
    routes = APIRouter(route_class=LeanRoute, tags=["predict"])
    predict = Predict(classifier, service)
    routes.get(
        "/predict",
        name="predict_query",
        summary="Classify a text",
        response_model=Answer,
        response_model_exclude_none=True,
        responses=documented_errors(400, 413, 422, 429, 500, 503, 504),
        openapi_extra=with_key(documented_query(PredictQuery)),
    )(over_asgi(predict.query))
    routes.post(
        "/predict",
        name="predict_body",
        summary="Classify a text, or several",
        response_model=Answer | Answers | list[LabelScore] | list[list[LabelScore]],
        responses=documented_errors(400, 408, 413, 422, 429, 500, 503, 504),
        openapi_extra=with_key(documented_body(PredictRequest, InferenceRequest)),
    )(over_asgi(predict.body, classifier.bodies))
    return routes
