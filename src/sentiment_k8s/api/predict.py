"""`GET /predict?text=...`, the book's call, and `POST /predict` for one text or many."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ..errors import TooLarge
from ..schemas import (
    Answer,
    Answers,
    PredictOptions,
    PredictQuery,
    PredictRequest,
    answer,
    parse_json,
    parse_strings,
)
from ..service import Service
from .http import (
    BodyReader,
    LeanRoute,
    cancelled_when_client_hangs_up,
    documented_body,
    documented_errors,
    documented_query,
    json_response,
    query_parameters,
)


def router(service: Service) -> APIRouter:
    """The routes that classify."""
    routes = APIRouter(route_class=LeanRoute, tags=["predict"])
    settings = service.settings
    bodies = BodyReader(settings.max_body_bytes, settings.body_timeout_seconds)
    recorded = service.record_mode != "off"

    async def classify(
        request: Request, texts: list[str], options: PredictOptions
    ) -> list[dict[str, object]]:
        if len(texts) > settings.max_texts:
            raise TooLarge(
                f"{len(texts)} texts in one request; {settings.max_texts} are allowed: send parts."
            )
        with cancelled_when_client_hangs_up(request):
            rows = await service.pipeline.classify(
                texts,
                truncate=options.truncate,
                subject=options.subject,
                request_id=request.scope["request_id"],
            )
        return [answer(row, options.top_k, recorded=recorded) for row in rows]

    @routes.get(
        "/predict",
        summary="Classify a text",
        response_model=Answer,
        response_model_exclude_none=True,
        responses=documented_errors(400, 413, 429, 500, 503, 504),
        openapi_extra=documented_query(PredictQuery),
    )
    async def predict_query(request: Request) -> Response:
        query = parse_strings(PredictQuery, query_parameters(request))
        [one] = await classify(request, [query.text], query)
        return json_response(one)

    @routes.post(
        "/predict",
        summary="Classify a text, or several",
        response_model=Answer | Answers,
        responses=documented_errors(400, 408, 413, 429, 500, 503, 504),
        openapi_extra=documented_body(PredictRequest),
    )
    async def predict_body(request: Request) -> Response:
        async with bodies.reading(request) as content:
            body = parse_json(PredictRequest, content)
            if body.texts is not None:
                return json_response({"predictions": await classify(request, body.texts, body)})
            [one] = await classify(request, [body.text or ""], body)
            return json_response(one)

    return routes
