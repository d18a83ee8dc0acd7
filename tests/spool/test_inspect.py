from pathlib import Path

import pytest

from sentiment_k8s.metrics import Metrics
from sentiment_k8s.spool import Spool, inspect
from sentiment_k8s.testing import example_row


def test_a_spool_is_counted_while_its_server_uses_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 2**20, Metrics())
    first = example_row("first")
    spool.append([first, example_row("bad"), example_row("last")])
    chunk = spool.read()
    assert chunk
    found = inspect(tmp_path)
    assert found == (3, spool.size, first.created_at, 0)
    spool.done(chunk, {1: "DataError"})
    assert inspect(tmp_path) == (0, 0, None, 1)
    spool.close()


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        inspect(tmp_path / "nowhere")
