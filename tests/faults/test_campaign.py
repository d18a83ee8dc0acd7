import pytest

from .campaign import campaign
from .faults import FAULTS


@pytest.mark.timeout(600)
def test_no_fault_loses_an_answer_or_writes_one_twice() -> None:
    report = campaign(len(FAULTS), seed=10, most_seconds=1.0)
    assert not report.violations, str(report)
    assert report.figures["answers replayed"]
    assert report.figures["rows through the spool"]
