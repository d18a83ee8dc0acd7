"""The log, read: `GET /predictions`, `GET /predictions/{id}`, `GET /stats`."""

from datetime import UTC, datetime, timedelta
from hmac import compare_digest
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from .. import pages
from .. import stats as figures
from ..database import Database
from ..errors import Forbidden, NotFound, RequestError, Unauthorized
from ..privacy import TextKeeper
from ..records import EPOCH
from ..schemas import (
    LoggedPrediction,
    PredictionFilters,
    PredictionsPage,
    PredictionsQuery,
    Stats,
    StatsQuery,
    parse_strings,
)
from ..search import Filters
from ..service import Service
from ..settings import Settings, is_loopback
from .http import (
    LeanRoute,
    documented_errors,
    documented_query,
    json_response,
    query_parameters,
)


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
        responses=documented_errors(400, 401, 403, 404, 429, 503),
        openapi_extra=documented_query(PredictionsQuery),
    )
    async def predictions(request: Request) -> Response:
        database = log(request)
        query = parse_strings(PredictionsQuery, query_parameters(request))
        rows, following = await pages.predictions(
            database, filters_of(query, service.keeper), query.limit, query.cursor
        )
        return json_response({"predictions": rows, "next": following})

    @routes.get(
        "/predictions/{id}",
        summary="One logged prediction",
        response_model=LoggedPrediction,
        responses=documented_errors(400, 401, 403, 404, 429, 503),
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
        row = await pages.prediction(database, identity)
        if row is None:
            raise NotFound(f"There is no prediction {identity}.")
        return json_response(row)

    @routes.get(
        "/stats",
        summary="Counts, scores, accuracy and drift over time",
        response_model=Stats,
        responses=documented_errors(400, 401, 403, 404, 429, 503),
        openapi_extra=documented_query(StatsQuery),
    )
    async def stats(request: Request) -> Response:
        database = log(request)
        query = parse_strings(StatsQuery, query_parameters(request))
        until = next_edge(datetime.now(UTC), timedelta(hours=query.hours) / query.buckets)
        since = until - timedelta(hours=query.hours)
        return json_response(
            await figures.stats(
                database, since, until, query.buckets, timedelta(hours=query.reference_hours)
            )
        )

    return routes


def filters_of(query: PredictionFilters, keeper: TextKeeper) -> Filters:
    """A query's filters; in digests there are no words to look for."""
    given = query.model_dump(include=set(PredictionFilters.model_fields))
    if keeper.mode == "hash" and query.text is not None:
        given |= {"text": None, "kept": keeper.kept(query.text)}
    return Filters(**given)


def next_edge(moment: datetime, width: timedelta) -> datetime:
    """The end of the bucket of this width that a moment is in.

    Buckets begin on round times, so that two looks at the same row count it in the same bucket.
    """
    return EPOCH + ((moment - EPOCH) // width + 1) * width


def authorise(request: Request, settings: Settings) -> None:
    """Let those read the log who may: the log is people's words.

    Raises:
        Unauthorized: the token is missing or wrong.
        Forbidden: there is no token, and this server is not for its own machine alone.
    """
    if settings.read == "open":
        return
    if settings.read_token is not None:
        token = settings.read_token.get_secret_value()
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        # Starlette reads headers as Latin-1, whatever the client meant.
        if scheme.lower() != "bearer" or not compare_digest(sent.encode("latin-1"), token.encode()):
            raise Unauthorized("Reading the log needs the header Authorization: Bearer <token>.")
    elif not (settings.on_loopback and asked_on_this_machine(request)):
        raise Forbidden(
            "The log is closed here: set SENTIMENT_READ_TOKEN and send it as a bearer token, "
            "or SENTIMENT_READ=open."
        )


def asked_on_this_machine(request: Request) -> bool:
    """Whether a request came to a loopback address, by its name, and through no proxy.

    The socket's own address counts, since `uvicorn --host` does not ask our settings. So does the
    name: a page of another site can reach a loopback address by a name of its own (DNS rebinding),
    and its requests carry that name.
    """
    if "x-forwarded-for" in request.headers or "forwarded" in request.headers:
        return False
    server = request.scope.get("server")
    name = urlsplit("//" + request.headers.get("host", "")).hostname
    return server is not None and is_loopback(server[0]) and is_loopback(name)
