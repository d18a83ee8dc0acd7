"""`/health`, `/health/live`, `/health/ready` and `/metrics`."""

from collections.abc import Callable

from fastapi import APIRouter
from fastapi.types import DecoratedCallable
from starlette.requests import Request
from starlette.responses import Response

from .. import __version__
from ..errors import NotReady
from ..metrics import CONTENT_TYPE
from ..records import iso
from ..schemas import Health
from ..service import Service
from ..spool import Spool
from .http import LeanRoute, documented_errors, json_response


def router(service: Service) -> APIRouter:
    """The routes for probes and for Prometheus."""
    routes = APIRouter(route_class=LeanRoute, tags=["operations"])

    def head(path: str) -> Callable[[DecoratedCallable], DecoratedCallable]:
        """Some load balancers probe with HEAD."""
        return routes.head(path, include_in_schema=False)

    @head("/health")
    @routes.get("/health", summary="The state of the server", response_model=Health)
    async def health(_: Request) -> Response:
        return json_response(state(service))

    @head("/health/live")
    @routes.get("/health/live", summary="Whether the process can answer")
    async def live(_: Request) -> Response:
        return json_response({"status": "live"})

    @head("/health/ready")
    @routes.get(
        "/health/ready",
        summary="Whether to send requests here",
        responses=documented_errors(503),
    )
    async def ready(_: Request) -> Response:
        if not service.ready:
            raise NotReady("The server is starting or stopping.", retry_after=1)
        return json_response({"status": "ready"})

    if service.settings.metrics_port is None:

        @routes.get(
            "/metrics",
            summary="Metrics for Prometheus",
            responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
        )
        async def metrics(_: Request) -> Response:
            return Response(service.metrics.exposition(), media_type=CONTENT_TYPE)

    return routes


def state(service: Service) -> dict[str, object]:
    """What `/health` says: healthy while the process can answer, with what is degraded beside."""
    model = None
    if service.ready:
        info = service.pipeline.model.info
        model = {
            "id": info.id,
            "revision": info.revision,
            "precision": info.precision,
            "engine": info.engine,
            "labels": info.labels,
            "max_tokens": info.max_tokens,
        }
    return {
        "status": "healthy",
        "ready": service.ready,
        "version": __version__,
        "model": model,
        "record": {
            "mode": service.record_mode,
            "available": service.available,
            "spool": None if service.log is None else spool_state(service.log.spool),
        },
    }


def spool_state(spool: Spool) -> dict[str, object]:
    """What `/health` says of the spool."""
    return {
        "rows": spool.rows,
        "bytes": spool.size,
        "max_bytes": spool.max_bytes,
        "oldest": None if spool.oldest is None else iso(spool.oldest),
        "writable": spool.writable,
        "damaged_records": spool.damaged_records,
    }
