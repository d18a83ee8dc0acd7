"""Rows on local disk while PostgreSQL is away.

format.py     a record, and how intact ones are told from torn and damaged ones
folder.py     the lock of a folder, and files that are on disk when a function returns
spool.py      segments: append, read from the oldest, drop
inspect.py    what is there, for a person
"""

from .folder import FolderInUse
from .inspect import Summary, inspect
from .spool import MOST_ROWS, Chunk, Spool, is_spool, open_spool

__all__ = [
    "MOST_ROWS",
    "Chunk",
    "FolderInUse",
    "Spool",
    "Summary",
    "inspect",
    "is_spool",
    "open_spool",
]
