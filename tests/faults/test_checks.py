"""A campaign is worth as much as what it would notice."""

from dataclasses import replace

from .checks import Ledger, Row, unexplained
from .load import Failed, Given, Request

ONE = Given(Request(("a", "b"), key="k"), ("1", "2"), ("POSITIVE", "NEGATIVE"), 0.1)


ROWS = ("1", "a", "POSITIVE"), ("2", "b", "NEGATIVE")


def compared(*rows: Row) -> Ledger:
    ledger = Ledger()
    ledger.compare(ledger.take([ONE]), rows)
    return ledger


def test_an_answer_that_is_in_the_log_once_is_well() -> None:
    ledger = compared(*ROWS)
    assert not ledger.lost
    assert not ledger.twice


def test_a_missing_row_is_a_lost_answer() -> None:
    assert compared(ROWS[0]).lost == {"2"}


def test_a_row_with_another_label_is_a_lost_answer() -> None:
    assert compared(ROWS[0], ("2", "b", "POSITIVE")).lost == {"2"}


def test_a_text_in_two_rows_is_there_twice_and_so_is_an_id() -> None:
    assert compared(*ROWS, ("3", "b", "NEGATIVE")).twice == {"b"}
    assert compared(*ROWS, ("2", "c", "NEGATIVE")).twice == {"2"}


def test_a_key_must_have_one_answer() -> None:
    ledger = Ledger()
    assert ledger.take([ONE, replace(ONE)]) == [ONE]
    assert ledger.replays == 1
    assert not ledger.unlike
    ledger.take([Given(ONE.request, ("3", "4"), ONE.labels, 0.1)])
    assert ledger.unlike == {"k"}


def failed(what: str, *, key: str | None = None, broken: bool = False) -> Failed:
    return Failed(Request(("a",), key=key), what, not broken, broken, since=1.0, until=2.0)


def test_a_refusal_is_right_where_there_is_nowhere_to_write() -> None:
    refusal = failed("503 database_unavailable")
    assert unexplained([refusal], away=[], refusing=[]) == [refusal]
    assert not unexplained([refusal], away=[], refusing=[(1.5, 3.0)])
    assert not unexplained([failed("503 database_unavailable", key="k")], away=[], refusing=[])


def test_a_connection_may_break_where_the_server_was_away() -> None:
    broken = failed("ReadError", broken=True)
    assert unexplained([broken], away=[(3.0, 4.0)], refusing=[(0.0, 9.0)]) == [broken]
    assert not unexplained([broken], away=[(0.0, 1.5)], refusing=[])


def test_a_fault_of_the_server_is_never_right() -> None:
    fault = failed("500 internal", key="k")
    assert unexplained([fault], away=[(0.0, 9.0)], refusing=[(0.0, 9.0)]) == [fault]
