"""The factory of the ASGI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp

from . import __version__
from .api import feedback, inference, page, predict, predictions, probes, stats, v2
from .api.classifier import Classifier
from .api.middleware import RequestMiddleware, add_error_handlers
from .api.shortcut import Shortcut
from .logs import set_up_logging
from .service import Service
from .settings import load_settings


def create_app(service: Service, classifier: Classifier | None = None) -> ASGIApp:
    """The application over a service, which it starts (unless it has been) and closes.

    Args:
        service: the parts of the server.
        classifier: of who answers beside it; by default its own.
    """
    classifier = classifier or Classifier(service)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service:
            yield

    api = FastAPIOffline(  # /docs from our own address: clusters often reach no other
        title="sentiment-k8s",
        version=__version__,
        description="Classifies texts on CPU; every answer is a durable row.",
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,  # the redirect would repeat the text
    )
    add_error_handlers(api)
    every_text = (
        predict.router(classifier, service),
        inference.router(classifier, service),
        v2.router(classifier, service),
    )
    log = (
        predictions.router(service),
        feedback.router(service, classifier.bodies),
        stats.router(service),
    )
    for routes in (*every_text, *log, probes.router(service)):
        api.include_router(routes)
    page.add_page(api)
    return RequestMiddleware(
        Shortcut(api, [route for routes in every_text for route in routes.routes]),
        metrics=service.metrics,
        access_log=service.settings.access_log,
        recorded=service.record_mode != "off",
        stopping=lambda: not service.ready,
    )


def app_from_environment() -> ASGIApp:
    """The application as the environment says, for `uvicorn app:app`."""
    settings = load_settings()
    set_up_logging(settings.log_level)
    return create_app(Service(settings))
