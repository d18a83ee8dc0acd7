import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from sentiment_k8s.logs import JsonFormatter, set_up_logging


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Give the root logger its handlers and level back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def one_line(log: io.StringIO) -> dict[str, Any]:
    [line] = log.getvalue().splitlines()
    content = json.loads(line)
    assert isinstance(content, dict)
    return content


def test_a_line_is_one_json_object() -> None:
    log = io.StringIO()
    set_up_logging("info", log)
    logging.getLogger("a.module").warning("half of %d", 4)
    line = one_line(log)
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "warning", "logger": "a.module", "message": "half of 4"}


def test_extra_fields_stand_beside_the_message() -> None:
    log = io.StringIO()
    set_up_logging("info", log)
    logging.getLogger("a").info("answered", extra={"request_id": "r-1", "status": 200})
    line = one_line(log)
    assert (line["request_id"], line["status"]) == ("r-1", 200)


def test_a_line_break_in_a_message_does_not_forge_a_second_line() -> None:
    log = io.StringIO()
    set_up_logging("info", log)
    logging.getLogger("a").info('one\n{"level": "error"}')
    assert one_line(log)["level"] == "info"


def test_a_value_that_json_does_not_know_is_written_as_text() -> None:
    log = io.StringIO()
    set_up_logging("info", log)
    logging.getLogger("a").info("m", extra={"address": object, "odd": "\ud800"})
    assert one_line(log)["address"] == "<class 'object'>"


def test_an_exception_comes_with_its_traceback() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})
    line = json.loads(JsonFormatter().format(record))
    assert line["traceback"].endswith("ValueError: broken")


def test_on_a_terminal_lines_are_for_people() -> None:
    log = Terminal()
    set_up_logging("info", log)
    logging.getLogger("a").warning("look here")
    assert log.getvalue() == "WARNING look here\n"


def test_lines_below_the_level_are_not_written() -> None:
    log = io.StringIO()
    set_up_logging("warning", log)
    logging.getLogger("a").info("quiet")
    assert log.getvalue() == ""


def test_chatty_libraries_are_heard_only_when_something_is_wrong() -> None:
    log = io.StringIO()
    set_up_logging("info", log)
    logging.getLogger("httpx").info("GET /predict?text=what+somebody+said")
    assert log.getvalue() == ""
