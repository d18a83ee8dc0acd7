"""What the log keeps of a text: all of it, what is left after redaction, or a keyed digest."""

import hmac
from typing import Literal

from .errors import SettingsError
from .redaction import redact
from .settings import Settings

TextMode = Literal["full", "redacted", "hash"]

DIGEST = "hmac-sha256:"


class TextKeeper:
    """Turns a text into what the log keeps of it.

    Args:
        mode: `full`, `redacted` (see `redaction`) or `hash` (HMAC-SHA-256, so that equal texts
            count as equal and nobody without the key can try texts out).
        key: of the digests; without one there are none.

    Raises:
        SettingsError: `hash` without a key.
    """

    def __init__(self, mode: TextMode = "full", key: str | None = None) -> None:
        if mode == "hash" and not key:
            raise SettingsError(
                "SENTIMENT_RECORD_TEXT=hash needs SENTIMENT_TEXT_KEY (--text-key): a secret of "
                "16 characters or more, the same for all servers of one log."
            )
        self.mode = mode
        self._key = key.encode() if key else None

    @classmethod
    def of(cls, settings: Settings) -> "TextKeeper":
        """As the settings say."""
        key = settings.text_key
        return cls(settings.record_text, key.get_secret_value() if key else None)

    def kept(self, text: str) -> str:
        """What the log keeps of a text."""
        match self.mode:
            case "full":
                return text
            case "redacted":
                return redact(text)
            case "hash":
                return self._digest(text)

    def forms(self, text: str) -> list[str]:
        """All that the log may have kept of a text, whatever the mode was when it was classified:
        the text, without what redaction takes out, and its digest if there is a key."""
        forms = {text: None, redact(text): None}  # in order, none twice
        if self._key:
            forms[self._digest(text)] = None
        return list(forms)

    def _digest(self, text: str) -> str:
        assert self._key is not None  # noqa: S101  # as checked at the start
        return DIGEST + hmac.digest(self._key, text.encode(), "sha256").hex()
