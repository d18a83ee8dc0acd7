"""A Hugging Face hub on the loopback address: enough of it to look a model up and download it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote


@dataclass
class Repository:
    """A model on the hub: one commit, with these files' contents by name."""

    files: dict[str, bytes]
    commit: str = "1" * 40
    branches: tuple[str, ...] = ("main",)
    gated: bool = False

    @classmethod
    def of_folder(cls, folder: Path, **more: object) -> "Repository":
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        return cls(files, **more)  # type: ignore[arg-type]  # a wrong name is a TypeError


@dataclass
class FakeHub:
    """A running hub; `downloads` has the names of the files that were asked for."""

    url: str
    repositories: dict[str, Repository]
    downloads: list[str] = field(default_factory=list)
    broken: bool = False


@contextmanager
def running_hub(**repositories: Repository) -> Iterator[FakeHub]:
    """Serve these models of the owner `acme` on a free port."""

    class Handler(_Handler):
        @property
        def hub(self) -> FakeHub:
            return hub

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        by_id = {f"acme/{name}": repository for name, repository in repositories.items()}
        hub = FakeHub(f"http://127.0.0.1:{server.server_port}", by_id)
        thread = Thread(target=server.serve_forever, name="fake hub")
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    """Routes: /api/models/ID[/revision/REV], /api/models/ID/tree/REV, /ID/resolve/REV/FILE."""

    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> FakeHub:
        raise NotImplementedError

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0]).strip("/").split("/")
        if self.hub.broken:
            return self._error(503, "", "The hub is in trouble")
        api = path[:2] == ["api", "models"]
        owner, name, *rest = path[2:] if api else path
        repository = self.hub.repositories.get(f"{owner}/{name}")
        if repository is None:
            return self._error(404, "RepoNotFound", "Repository not found")
        revision = rest[1] if len(rest) > 1 else "main"
        if revision not in (*repository.branches, repository.commit):
            return self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if not api:
            return self._file(repository, "/".join(rest[2:]))
        if rest[:1] == ["tree"]:
            return self._json(
                [
                    {"type": "file", "path": name, "size": len(body), "oid": _digest(body)}
                    for name, body in repository.files.items()
                ]
            )
        siblings = [{"rfilename": name} for name in repository.files]
        return self._json({"id": f"{owner}/{name}", "sha": repository.commit, "siblings": siblings})

    do_HEAD = do_GET  # noqa: N815

    def _file(self, repository: Repository, name: str) -> None:
        if repository.gated:
            return self._error(403, "GatedRepo", "Access to this model is restricted")
        if name not in repository.files:
            return self._error(404, "EntryNotFound", "Entry not found")
        if self.command == "GET":
            self.hub.downloads.append(name)
        body = repository.files[name]
        headers = {"ETag": f'"{_digest(body)}"', "X-Repo-Commit": repository.commit}
        return self._answer(200, body, headers)

    def _json(self, content: object) -> None:
        self._answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str, message: str) -> None:
        self._answer(status, b"", {"X-Error-Code": code, "X-Error-Message": message})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for header, value in headers.items():
            self.send_header(header, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
        """Say nothing."""


def _digest(body: bytes) -> str:
    return sha1(body, usedforsecurity=False).hexdigest()
