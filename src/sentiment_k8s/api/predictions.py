"""The log, read: `GET /predictions` and `GET /predictions/{id}`."""

from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from .. import pages
from ..errors import NotFound, RequestError
from ..schemas import (
    LoggedPrediction,
    PredictionsPage,
    PredictionsQuery,
    filters_of,
    parse_strings,
)
from ..service import Service
from .access import log_for
from .http import (
    LeanRoute,
    documented_errors,
    documented_path,
    documented_query,
    json_response,
    query_parameters,
)
from .streams import ENCODERS, Streams, encoder_for

ROWS_A_PAGE, MOST_ROWS_A_PAGE = 50, 500


def router(service: Service) -> APIRouter:
    """The routes that read the log, each behind the read token."""
    routes = APIRouter(route_class=LeanRoute, tags=["log"])
    streams = Streams()

    @routes.get(
        "/predictions",
        summary="Logged predictions, newest first",
        response_model=PredictionsPage,
        responses=documented_errors(400, 401, 403, 404, 429, 503)
        | {200: {"content": {media_type: {} for media_type in ENCODERS}}},
        openapi_extra=documented_query(PredictionsQuery),
    )
    async def predictions(request: Request) -> Response:
        database = log_for(request, service)
        query = parse_strings(PredictionsQuery, query_parameters(request.scope["query_string"]))
        filters = filters_of(query, service.keeper)
        if encoder := encoder_for(request):
            parts = pages.all_predictions(database, filters, query.limit, query.cursor)
            response = await streams.answer(request, encoder, parts)
        else:
            rows, following = await pages.predictions(
                database, filters, page_limit(query.limit), query.cursor
            )
            response = json_response({"predictions": rows, "next": following})
        response.headers["Vary"] = "Accept"
        return response

    @routes.get(
        "/predictions/{id}",
        summary="One logged prediction",
        response_model=LoggedPrediction,
        responses=documented_errors(400, 401, 403, 404, 429, 503),
        openapi_extra=documented_path("id"),
    )
    async def prediction(request: Request) -> Response:
        database = log_for(request, service)
        identity = row_id_of(request)
        row = await pages.prediction(database, identity)
        if row is None:
            raise NotFound(f"There is no prediction {identity}.")
        return json_response(row)

    return routes


def page_limit(asked: int | None) -> int:
    """How many rows a page has.

    Raises:
        RequestError: it would be too large.
    """
    if asked is not None and asked > MOST_ROWS_A_PAGE:
        raise RequestError(
            f"limit: a page has {MOST_ROWS_A_PAGE} rows at most; ask for text/csv or "
            "application/x-ndjson (the header Accept) to have more at once."
        )
    return asked or ROWS_A_PAGE


def row_id_of(request: Request) -> UUID:
    """The id in a path.

    Raises:
        RequestError: it is none.
    """
    try:
        return UUID(request.path_params["id"])
    except ValueError:
        raise RequestError("The id is not a UUID.") from None
