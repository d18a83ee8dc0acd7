import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sentiment_k8s.errors import SettingsError
from sentiment_k8s.postgres_binaries import (
    account_for,
    find_binaries,
    major_version,
    runnable_by,
)

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users")


def test_the_newest_version_in_the_package_is_taken() -> None:
    assert find_binaries().parent.name == "pginstall18"


def test_without_the_package_the_sentence_says_what_to_install() -> None:
    source = Path(sys.modules["sentiment_k8s"].__path__[0]).parent
    done = subprocess.run(
        [
            sys.executable,
            "-S",
            "-c",
            "from sentiment_k8s.postgres_binaries import *; find_binaries()",
        ],
        env={"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
    )
    assert SettingsError.__name__ in done.stderr
    assert "install sentiment-k8s[embedded], or set DATABASE_URL" in done.stderr


def test_the_major_version_is_what_the_program_says(postgres_binaries: Path) -> None:
    assert major_version(postgres_binaries) == 18


def test_an_ordinary_users_folder_is_served_as_that_user(tmp_path: Path) -> None:
    account = account_for(tmp_path / "new")
    assert (account is None) == (os.geteuid() != 0)


@root
def test_root_serves_a_folder_as_its_owner(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    account = account_for(tmp_path)
    assert account
    assert (account.name, account.uid, account.gid) == ("12345", 12345, 12345)


@root
def test_programs_in_a_closed_folder_are_copied_to_where_they_run(tmp_path: Path) -> None:
    account = account_for(tmp_path / "new")
    assert account
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    installed = find_binaries().parent
    package = closed / installed.parent.name
    shutil.copytree(installed, package / installed.name)
    libraries = installed.parent.with_name(installed.parent.name + ".libs")
    shutil.copytree(libraries, closed / libraries.name)
    copies = tmp_path / "copies"
    binaries = runnable_by(account, package / installed.name / "bin", copies)
    assert binaries.is_relative_to(copies)
    assert runnable_by(account, package / installed.name / "bin", copies) == binaries
    answer = subprocess.run([binaries / "initdb", "-V"], capture_output=True, text=True, check=True)
    assert "initdb (PostgreSQL)" in answer.stdout
