"""12. Uninstall leaves nothing but the claim; a new install finds the data."""

from typing import Any

from .harness.load import Load
from .harness.log import Log
from .harness.namespace import Namespace
from .harness.release import Release
from .harness.waiting import wait_until


def test_a_new_install_finds_the_rows_of_the_old_one(
    release: Release, namespace: Namespace, log: Log
) -> None:
    release.install()
    with Load(release.url) as load:
        load.more(50)
    log.assert_keeps(load.answers)

    release.uninstall()
    wait_until(
        "an empty namespace",
        lambda: {kind for kind, _ in namespace.everything()} == {"PersistentVolumeClaim"},
        seconds=90,
    )

    release.install()
    log.assert_keeps(load.answers)
    with Load(release.url) as again:  # the password fits, too
        again.more(50)
    again.assert_nothing_failed()
    log.assert_keeps(load.answers + again.answers)


def test_the_text_key_and_the_spool_s_claim_stay_too(
    release: Release, namespace: Namespace
) -> None:
    def key() -> Any:
        return namespace.get("secret", "sentiment-text-key")["data"]["key"]

    values = ("--set", "recordText=hash", "--set", "spool.mode=claim")
    release.install(*values)
    made = key()
    release.upgrade(*values)
    assert key() == made

    release.uninstall()
    assert namespace.get("pvc", "sentiment-spool")["status"]["phase"] == "Bound"
    release.install(*values)
    assert key() == made
    release.test()
