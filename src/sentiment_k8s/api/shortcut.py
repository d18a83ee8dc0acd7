"""The routes that every text takes are answered before the framework's own layers."""

from collections.abc import Iterable

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import SentimentError
from .http import error_response


class Shortcut:
    """Calls the handlers of some routes itself; leaves all else to the application.

    Middleware, router and exit stacks of the framework cost a fifth of what a text costs outside
    the model (docs/decisions/0004-lean-routes.md). The routes stay in the application too, for its
    OpenAPI document and for their other methods.

    Args:
        app: what answers everything else.
        routes: whose handlers take a `Request` and answer a `Response`.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        lean = [route for route in routes if isinstance(route, APIRoute)]
        self._fixed = {
            (method, route.path): route
            for route in lean
            if not route.param_convertors
            for method in route.methods or ()
        }
        self._patterns = [route for route in lean if route.param_convertors]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._fixed.get((scope.get("method", ""), scope.get("path", "")))
        if route is None:
            route = self._matching(scope)
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        try:
            response = await route.endpoint(Request(scope, receive))
        except SentimentError as error:
            response = error_response(error)
        await response(scope, receive, send)

    def _matching(self, scope: Scope) -> APIRoute | None:
        """A route with parameters in its path, which the scope is given."""
        for route in self._patterns:
            match, found = route.matches(scope)
            if match is Match.FULL:
                scope["path_params"] = found["path_params"]
                return route
        return None
