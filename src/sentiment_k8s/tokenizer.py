"""Text to token ids, in Rust (the `tokenizers` library), truncated to what the model takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Encoding
from tokenizers import Tokenizer as RustTokenizer

from .errors import ModelError

# A prefix of this many characters a token is tokenised first: a megabyte of text costs what 512
# tokens cost. English has 4 to 5.
CHARACTERS_A_TOKEN = 16
# WordPiece gives up on a word of more characters and calls it unknown; cut shorter, it has pieces.
LONGEST_WORD = 100


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text as the model takes it: `ids` with special tokens; `type_ids` of the same length."""

    ids: list[int]
    type_ids: list[int]
    truncated: bool

    def __len__(self) -> int:
        return len(self.ids)


class Tokenizer:
    """A Hugging Face fast tokenizer.

    Args:
        file: a `tokenizer.json`.
        max_tokens: length to truncate at, special tokens included.

    Raises:
        ModelError: the file is missing or broken.
    """

    def __init__(self, file: Path, max_tokens: int) -> None:
        try:
            self._tokenizer = RustTokenizer.from_file(str(file))
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(max_tokens)
        except Exception as error:  # the library raises plain Exception
            raise ModelError(f"{file} is not a usable tokenizer: {error}.") from None
        self.max_tokens = max_tokens

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenise, in as many threads as `RAYON_NUM_THREADS` says and without the GIL."""
        window = self.max_tokens * CHARACTERS_A_TOKEN
        encodings = self._tokenizer.encode_batch_fast([text[:window] for text in texts])
        return [
            self._tokens(encoding)
            if len(text) <= window or self._settled(encoding)
            else self._tokens(self._encode_long(text, window))
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    def _encode_long(self, text: str, window: int) -> Encoding:
        """Widen the prefix until it has all the tokens that count."""
        while True:
            window *= 8
            [encoding] = self._tokenizer.encode_batch_fast([text[:window]])
            if len(text) <= window or self._settled(encoding):
                return encoding

    def _settled(self, encoding: Encoding) -> bool:
        """Whether a cut of the text cannot have changed the tokens kept: at least as many again,
        and more than the pieces of a word that was cut, lie between them and the cut."""
        full = len(encoding.overflowing) - 1
        # Twice, since of each length some are special tokens.
        return full * self.max_tokens > 2 * LONGEST_WORD

    @staticmethod
    def _tokens(encoding: Encoding) -> Tokens:
        return Tokens(encoding.ids, encoding.type_ids, bool(encoding.overflowing))
