"""A peer whose server is written with a framework, in `NAME/service.py`, twice: with the torch
pipeline of its guide, and with ONNX Runtime and our int8 file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..servers import Server
from ..wire import Wire
from .environment import FOLDER, environment, version
from .peer import INSIDE, Peer, Setting


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework and the server written with it.

    Args:
        name: of its folder and its package.
        command: from the Python of its environment to what starts the server, in its folder.
        wire: how that server is asked.
        settings: as a `Peer` has them.
        variables: of its environment, more than a `Setting` has.
    """

    name: str
    command: Callable[[Path], list[str]]
    wire: Wire
    settings: str
    variables: Mapping[str, str] = field(default_factory=dict)

    def peers(self) -> tuple[Peer, Peer]:
        """With torch in fp32, and with ONNX Runtime in int8."""
        return (
            self._peer(self.name, "fp32", "torch", "the transformers pipeline"),
            self._peer(f"{self.name}-ort", "int8", "onnxruntime", "ONNX Runtime, our int8 file"),
        )

    def _peer(self, name: str, precision: str, engine: str, what: str) -> Peer:
        def server(setting: Setting) -> Server:
            return Server(
                self.command(environment(self.name)),
                cores=setting.cores,
                ready=self.wire,
                log=setting.log,
                environment={
                    **setting.environment,
                    **self.variables,
                    "ENGINE": engine,
                    "PYTHONPATH": str(INSIDE),
                    "HOME": str(setting.scratch),  # where some keep state between runs
                },
                folder=FOLDER / self.name,
            )

        return Peer(
            name=name,
            precision=precision,
            wire=self.wire,
            settings=f"{self.settings}; {what}",
            install=lambda: environment(self.name),
            server=server,
            version=lambda: version(self.name, self.name, engine),
        )
