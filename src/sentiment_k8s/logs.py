"""Log lines: for people on a terminal, JSON elsewhere. None ever holds a text."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import TextIO

# What the standard library puts on every record; whatever else is there came by `extra`.
STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


def whereabouts(error: BaseException) -> str:
    """An error's type and where it happened; not its message, which may hold a text."""
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in STANDARD}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def set_up_logging(level: str, stream: TextIO = sys.stderr) -> None:
    """Send all log lines to `stream`.

    Args:
        level: the least level, such as `info`.
        stream: standard error unless told otherwise.
    """
    handler = logging.StreamHandler(stream)
    if stream.isatty():
        handler.setFormatter(logging.Formatter("%(levelname)-7s %(message)s"))
    else:
        handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("httpx", "httpcore", "uvicorn", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # Its lines hold query strings, so people's words; ours come from `api/middleware.py`.
    logging.getLogger("uvicorn.access").disabled = True
