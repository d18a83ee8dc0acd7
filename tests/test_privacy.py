import hashlib
import hmac

import pytest

from sentiment_k8s.errors import SettingsError
from sentiment_k8s.privacy import TextKeeper, TextMode
from sentiment_k8s.settings import load_settings

KEY = "a key of sixteen characters"
TEXT = "ask joe@example.com"
DIGEST = "hmac-sha256:" + hmac.new(KEY.encode(), TEXT.encode(), hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("mode", "kept"), [("full", TEXT), ("redacted", "ask [email]"), ("hash", DIGEST)]
)
def test_the_log_keeps_what_the_mode_says(mode: TextMode, kept: str) -> None:
    assert TextKeeper(mode, KEY).kept(TEXT) == kept


def test_equal_texts_have_equal_digests_and_others_do_not() -> None:
    keeper = TextKeeper("hash", KEY)
    assert keeper.kept("good") == keeper.kept("good")
    assert keeper.kept("good") != keeper.kept("good ")
    assert keeper.kept("good") != TextKeeper("hash", "another key of ours").kept("good")


def test_a_text_is_found_in_every_form_that_it_may_have_been_kept_in() -> None:
    assert TextKeeper("full", KEY).forms(TEXT) == [TEXT, "ask [email]", DIGEST]
    assert TextKeeper("hash", KEY).forms(TEXT) == [TEXT, "ask [email]", DIGEST]


def test_without_a_key_there_is_no_digest_to_find_and_no_form_twice() -> None:
    assert TextKeeper().forms("good") == ["good"]


def test_any_text_that_can_be_classified_can_be_hashed() -> None:
    assert len(TextKeeper("hash", KEY).kept("我 👩‍👩‍👧‍👦")) == len(DIGEST)


def test_hash_without_a_key_is_refused_with_what_to_set() -> None:
    settings = load_settings(environ={"SENTIMENT_RECORD_TEXT": "hash"})
    with pytest.raises(SettingsError, match="SENTIMENT_TEXT_KEY"):
        TextKeeper.of(settings)


def test_the_settings_say_mode_and_key() -> None:
    environ = {"SENTIMENT_RECORD_TEXT": "hash", "SENTIMENT_TEXT_KEY": KEY}
    assert TextKeeper.of(load_settings(environ=environ)).kept(TEXT) == DIGEST
