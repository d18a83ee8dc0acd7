"""The log, read: `GET /predictions`, `GET /predictions/{id}`, `GET /stats`."""

from datetime import UTC, datetime, timedelta
from hmac import compare_digest
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ..database import Database
from ..errors import Forbidden, NotFound, RequestError, Unauthorized
from ..schemas import (
    LoggedPrediction,
    PredictionsPage,
    PredictionsQuery,
    Stats,
    StatsQuery,
    parse_strings,
)
from ..service import Service
from ..settings import Settings
from .http import (
    LeanRoute,
    documented_errors,
    documented_query,
    json_response,
    query_parameters,
)

LOCAL_HOSTS = {"localhost", "127.0.0.1", "[::1]"}


def router(service: Service) -> APIRouter:
    """The routes that read the log, each behind the read token."""
    routes = APIRouter(route_class=LeanRoute, tags=["log"])

    def log(request: Request) -> Database:
        authorise(request, service.settings)
        if service.database is None:
            raise NotFound("Nothing is recorded by this server: set DATABASE_URL to have a log.")
        return service.database

    @routes.get(
        "/predictions",
        summary="Logged predictions, newest first",
        response_model=PredictionsPage,
        responses=documented_errors(400, 401, 403, 404, 503),
        openapi_extra=documented_query(PredictionsQuery),
    )
    async def predictions(request: Request) -> Response:
        database = log(request)
        query = parse_strings(PredictionsQuery, query_parameters(request))
        rows, following = await database.predictions(
            limit=query.limit,
            cursor=query.cursor,
            label=query.label,
            since=query.since,
            until=query.until,
        )
        return json_response({"predictions": rows, "next": following})

    @routes.get(
        "/predictions/{id}",
        summary="One logged prediction",
        response_model=LoggedPrediction,
        responses=documented_errors(400, 401, 403, 404, 503),
        openapi_extra={
            "parameters": [
                {
                    "name": "id",
                    "in": "path",
                    "required": True,
                    "schema": {"type": "string", "format": "uuid"},
                }
            ]
        },
    )
    async def prediction(request: Request) -> Response:
        database = log(request)
        try:
            identity = UUID(request.path_params["id"])
        except ValueError:
            raise RequestError("The id is not a UUID.") from None
        row = await database.prediction(identity)
        if row is None:
            raise NotFound(f"There is no prediction {identity}.")
        return json_response(row)

    @routes.get(
        "/stats",
        summary="Counts by label over time",
        response_model=Stats,
        responses=documented_errors(400, 401, 403, 404, 503),
        openapi_extra=documented_query(StatsQuery),
    )
    async def stats(request: Request) -> Response:
        database = log(request)
        query = parse_strings(StatsQuery, query_parameters(request))
        until = next_edge(datetime.now(UTC), timedelta(hours=query.hours) / query.buckets)
        since = until - timedelta(hours=query.hours)
        return json_response(await database.stats(since=since, until=until, buckets=query.buckets))

    return routes


def next_edge(moment: datetime, width: timedelta) -> datetime:
    """The end of the bucket of this width that a moment is in.

    Buckets begin on round times, so that two looks at the same row count it in the same bucket.
    """
    epoch = datetime.fromtimestamp(0, UTC)
    return epoch + ((moment - epoch) // width + 1) * width


def authorise(request: Request, settings: Settings) -> None:
    """Let those read the log who may: the log is people's words.

    Raises:
        Unauthorized: the token is missing or wrong.
        Forbidden: there is no token, and this server is not for its own machine alone.
    """
    if settings.read == "open":
        return
    if settings.read_token is not None:
        token = settings.read_token.get_secret_value().encode()
        sent = request.headers.get("authorization", "").encode()
        if not compare_digest(sent, b"Bearer " + token):
            raise Unauthorized("Reading the log needs the header Authorization: Bearer <token>.")
        return
    # A page of another site can reach a loopback address by a name of its own (DNS rebinding):
    # its requests carry that name.
    name = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
    if not settings.on_loopback or name not in LOCAL_HOSTS:
        raise Forbidden(
            "The log is closed here: set SENTIMENT_READ_TOKEN and send it as a bearer token, "
            "or SENTIMENT_READ=open."
        )
