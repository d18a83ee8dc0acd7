"""Text to token ids, in Rust (the `tokenizers` library), truncated to what the model takes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tokenizers import Encoding
from tokenizers import Tokenizer as RustTokenizer

from .errors import ModelError

# A prefix of this many characters a token is tokenised first, so that a megabyte of text costs what
# 512 tokens cost; English has 4 to 5. Where that gives too few tokens (runs of blanks, endless
# words) the longer prefix is taken; a text is never looked at beyond it, and counts as truncated.
CHARACTERS_A_TOKEN = 16
MOST_CHARACTERS_A_TOKEN = 64
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


class Pair(str):
    """Two texts that a model reads together, such as a premise and a hypothesis.

    To all but the tokenizer it is one text: the JSON list of both, which the log keeps.
    """

    first: str
    second: str

    def __new__(cls, first: str, second: str) -> Self:
        pair = super().__new__(cls, json.dumps([first, second], ensure_ascii=False))
        pair.first, pair.second = first, second
        return pair

    def cut(self, characters: int) -> tuple[str, str]:
        """Both, of which no more than so many characters together; a short one is kept whole."""
        half = characters // 2
        return (
            self.first[: max(half, characters - len(self.second))],
            self.second[: max(half, characters - len(self.first))],
        )


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
        """Tokenise, without the GIL; threads may do so side by side."""
        window = self.max_tokens * CHARACTERS_A_TOKEN
        encodings = self._tokenizer.encode_batch_fast([_cut(text, window) for text in texts])
        return [
            self._tokens(encoding)
            if len(text) <= window or self._settled(encoding)
            else self._encode_thin(text)
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    def _encode_thin(self, text: str) -> Tokens:
        """A long text with few tokens in its first characters."""
        # Of a pair the library makes every piece of one text with every piece of the other.
        a_token = CHARACTERS_A_TOKEN if isinstance(text, Pair) else MOST_CHARACTERS_A_TOKEN
        kept = _cut(text, self.max_tokens * a_token)
        [encoding] = self._tokenizer.encode_batch_fast([kept])
        return self._tokens(encoding, cut=kept != _cut(text, len(text)))

    def _settled(self, encoding: Encoding) -> bool:
        """Whether a cut of the text cannot have changed the tokens kept: at least as many again,
        and more than the pieces of a word that was cut, lie between them and the cut."""
        full = len(encoding.overflowing) - 1
        # Twice, since of each length some are special tokens.
        return full * self.max_tokens > 2 * LONGEST_WORD

    @staticmethod
    def _tokens(encoding: Encoding, *, cut: bool = False) -> Tokens:
        return Tokens(encoding.ids, encoding.type_ids, cut or bool(encoding.overflowing))


def _cut(text: str, characters: int) -> str | tuple[str, str]:
    """What the library is given of a text or a pair."""
    return text.cut(characters) if isinstance(text, Pair) else text[:characters]
