"""`GET /predict?text=...`, the book's call, and `POST /predict` for one text or many, or in the
form of another protocol (inference.py)."""

from fastapi import APIRouter
from starlette.requests import Request
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


def router(classifier: Classifier, service: Service) -> APIRouter:
    """The routes that classify."""
    routes = APIRouter(route_class=LeanRoute, tags=["predict"])

    async def classify(
        request: Request, texts: list[str], options: PredictOptions, body: bytes = b""
    ) -> list[dict[str, object]]:
        rows = await classifier.classify(
            request, texts, body=body, truncate=options.truncate, subject=options.subject
        )
        return [
            answer(text, row, options.top_k, recorded=classifier.recorded)
            for text, row in zip(texts, rows, strict=True)
        ]

    @routes.get(
        "/predict",
        summary="Classify a text",
        response_model=Answer,
        response_model_exclude_none=True,
        responses=documented_errors(400, 413, 422, 429, 500, 503, 504),
        openapi_extra=with_key(documented_query(PredictQuery)),
    )
    async def predict_query(request: Request) -> Response:
        query = parse_strings(PredictQuery, query_parameters(request))
        [one] = await classify(request, [query.text], query)
        return json_response(one)

    @routes.post(
        "/predict",
        summary="Classify a text, or several",
        response_model=Answer | Answers | list[LabelScore] | list[list[LabelScore]],
        responses=documented_errors(400, 408, 413, 422, 429, 500, 503, 504),
        openapi_extra=with_key(documented_body(PredictRequest, InferenceRequest)),
    )
    async def predict_body(request: Request) -> Response:
        async with classifier.bodies.reading(request) as content:
            body = parse_json_with("inputs", InferenceRequest, PredictRequest, content)
            if isinstance(body, InferenceRequest):
                return await inference.answer(classifier, service, request, content, body)
            if body.texts is not None:
                return json_response(
                    {"predictions": await classify(request, body.texts, body, content)}
                )
            [one] = await classify(request, [body.text or ""], body, content)
            return json_response(one)

    return routes
