"""What the log keeps of a text, and the key of its digests."""

from .rendering import Manifests, environment, render

SECRET = "sentiment-text-key"


def key_reference(release: Manifests) -> dict[str, str] | None:
    """The Secret and key that the server's text key comes from."""
    found = environment(release.server).get("SENTIMENT_TEXT_KEY")
    return found["secretKeyRef"] if found else None


def test_texts_are_kept_whole_and_without_a_key_unless_asked_otherwise() -> None:
    release = render()
    assert environment(release.server)["SENTIMENT_RECORD_TEXT"] == "full"
    assert key_reference(release) is None
    assert SECRET not in release.names("Secret")


def test_redaction_needs_no_key() -> None:
    release = render(recordText="redacted")
    assert environment(release.server)["SENTIMENT_RECORD_TEXT"] == "redacted"
    assert key_reference(release) is None


def test_a_key_is_made_for_digests_and_outlives_the_release() -> None:
    release = render(recordText="hash")
    secret = release.one("Secret", SECRET)
    assert len(secret["stringData"]["key"]) == 32
    assert secret["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert key_reference(release) == {"name": SECRET, "key": "key"}


def test_the_key_can_be_given_or_in_a_secret_of_the_operator_s() -> None:
    given = render(recordText="hash", textKey__value="sixteen or more of them")
    assert given.one("Secret", SECRET)["stringData"]["key"] == "sixteen or more of them"
    theirs = render(recordText="hash", textKey__existingSecret="theirs")
    assert SECRET not in theirs.names("Secret")
    assert key_reference(theirs) == {"name": "theirs", "key": "key"}


def test_digests_of_former_times_are_still_found_by_their_key() -> None:
    release = render(recordText="full", textKey__existingSecret=SECRET)
    assert key_reference(release) == {"name": SECRET, "key": "key"}


def test_another_key_rolls_the_server() -> None:
    def checksum(key: str) -> str:
        template = render(recordText="hash", textKey__value=key).deployment["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/text-key"])

    assert checksum("the first of two keys") != checksum("the second of two keys")


def test_no_key_stands_in_a_pod() -> None:
    release = render(recordText="hash", textKey__value="the key of digests")
    assert "the key of digests" not in str([each for each in release if each["kind"] != "Secret"])
