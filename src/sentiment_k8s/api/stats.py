"""The log in figures: `GET /stats`."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from .. import stats as figures
from ..records import EPOCH
from ..schemas import Stats, StatsQuery, parse_strings
from ..service import Service
from .access import log_for
from .http import (
    LeanRoute,
    documented_errors,
    documented_query,
    json_response,
    query_parameters,
)


def router(service: Service) -> APIRouter:
    """The route that counts, behind the read token."""
    routes = APIRouter(route_class=LeanRoute, tags=["log"])

    @routes.get(
        "/stats",
        summary="Counts, scores, accuracy and drift over time",
        response_model=Stats,
        responses=documented_errors(400, 401, 403, 404, 429, 503),
        openapi_extra=documented_query(StatsQuery),
    )
    async def stats(request: Request) -> Response:
        database = log_for(request, service)
        query = parse_strings(StatsQuery, query_parameters(request.scope["query_string"]))
        window, reference = timedelta(hours=query.hours), timedelta(hours=query.reference_hours)
        until = next_edge(datetime.now(UTC), window / query.buckets)
        found = await figures.stats(database, until - window, until, query.buckets, reference)
        return json_response(found)

    return routes


def next_edge(moment: datetime, width: timedelta) -> datetime:
    """The end of the bucket of this width that a moment is in.

    Buckets begin on round times, so that two looks at the same row count it in the same bucket.
    """
    return EPOCH + ((moment - EPOCH) // width + 1) * width
