"""The web page at `/`: static files that load nothing from anywhere else."""

from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent.parent / "page"
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class PageFiles(StaticFiles):
    """Static files with the page's headers."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


def add_page(app: FastAPI) -> None:
    """Serve the page at `/` and its files under `/page/`."""

    async def page(_: Request) -> Response:
        return FileResponse(FOLDER / "index.html", headers=HEADERS)

    app.add_api_route("/", page, summary="The web page", response_class=HTMLResponse)
    app.add_route("/", page, methods=["HEAD"], include_in_schema=False)
    app.mount("/page", PageFiles(directory=FOLDER))
