"""Who may read the log, and correct it."""

from hmac import compare_digest
from urllib.parse import urlsplit

from starlette.requests import Request

from ..database import Database
from ..errors import Forbidden, NotFound, Unauthorized
from ..service import Service
from ..settings import Settings, is_loopback


def log_for(request: Request, service: Service) -> Database:
    """The log, for those who may read it.

    Raises:
        Unauthorized, Forbidden: they may not.
        NotFound: there is none.
    """
    authorise(request, service.settings)
    if service.database is None:
        raise NotFound("Nothing is recorded by this server: set DATABASE_URL to have a log.")
    return service.database


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
