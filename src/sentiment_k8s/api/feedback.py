"""The log, corrected: `POST /predictions/{id}/feedback`."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from .. import feedback
from ..schemas import Feedback, FeedbackRequest, parse_json
from ..service import Service
from .access import log_for
from .http import (
    BodyReader,
    LeanRoute,
    documented_body,
    documented_errors,
    documented_path,
    json_response,
)
from .predictions import row_id_of


def router(service: Service, bodies: BodyReader) -> APIRouter:
    """The route that takes feedback, behind the read token."""
    routes = APIRouter(route_class=LeanRoute, tags=["log"])

    @routes.post(
        "/predictions/{id}/feedback",
        summary="Say what the label should have been",
        response_model=Feedback,
        responses=documented_errors(400, 401, 403, 404, 408, 413, 429, 503),
        openapi_extra=documented_path("id") | documented_body(FeedbackRequest),
    )
    async def give(request: Request) -> Response:
        database = log_for(request, service)
        async with bodies.reading(request) as content:
            given = parse_json(FeedbackRequest, content)
        return json_response(
            await feedback.give(database, row_id_of(request), given.label, given.comment)
        )

    return routes
