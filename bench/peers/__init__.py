"""Other servers for the same job. An adapter is a module or a package here with a tuple `PEERS`;
a package has with it what its environment needs and, for a framework, the server written with it.
"""

from importlib import import_module
from pkgutil import iter_modules

from .ours import PEERS as OURS
from .peer import Peer


def known() -> dict[str, Peer]:
    """All peers by name, ourselves first."""
    modules = (import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__))
    others = {peer.name: peer for module in modules for peer in getattr(module, "PEERS", ())}
    return {peer.name: peer for peer in OURS} | others
