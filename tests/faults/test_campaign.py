import pytest

from .campaign import campaign

ROUNDS = 16
SEED = 309  # whose first rounds have the faults that are furthest from each other


@pytest.mark.timeout(900)
def test_no_fault_loses_an_answer_or_writes_one_twice() -> None:
    report = campaign(ROUNDS, SEED, most_seconds=1.0)
    assert not report.violations, str(report)
    assert report.figures["answers replayed"]
    assert report.figures["rows through the spool"]
