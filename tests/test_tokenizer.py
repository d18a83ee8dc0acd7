import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as RustTokenizer

from sentiment_k8s.errors import ModelError
from sentiment_k8s.tokenizer import CHARACTERS_A_TOKEN, MOST_CHARACTERS_A_TOKEN, Pair, Tokenizer

MAX_TOKENS = 32
WINDOW = MAX_TOKENS * CHARACTERS_A_TOKEN
MOST = WINDOW * MOST_CHARACTERS_A_TOKEN // CHARACTERS_A_TOKEN


@pytest.fixture(scope="module")
def tokenizer(model_folder: Path) -> Tokenizer:
    """The bundled model's, with a small limit so that short texts reach it."""
    return Tokenizer(model_folder / "tokenizer.json", MAX_TOKENS)


@pytest.fixture(scope="module")
def whole(model_folder: Path) -> RustTokenizer:
    """The same without our window: it tokenises all of a text, then truncates."""
    plain = RustTokenizer.from_file(str(model_folder / "tokenizer.json"))
    plain.no_padding()
    plain.enable_truncation(MAX_TOKENS)
    return plain


class CountingTokenizer(Tokenizer):
    """Counts the characters that reach the Rust library; takes 512 tokens, as most models do."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, 512)
        self.characters = 0
        rust = self._tokenizer
        counter = self

        class Counting:
            def encode_batch_fast(self, texts: list[str]) -> object:
                counter.characters += sum(map(len, texts))
                return rust.encode_batch_fast(texts)

        self._tokenizer = Counting()  # type: ignore[assignment]


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    [tokens] = tokenizer.encode([text])
    return tokens.ids


# One word of text is one token here, and two more are special.
@pytest.mark.parametrize(
    ("words", "length", "truncated"),
    [
        (1, 3, False),
        (MAX_TOKENS - 3, MAX_TOKENS - 1, False),
        (MAX_TOKENS - 2, MAX_TOKENS, False),
        (MAX_TOKENS - 1, MAX_TOKENS, True),
        (2 * MAX_TOKENS, MAX_TOKENS, True),
        (10_000, MAX_TOKENS, True),
    ],
)
def test_a_text_is_truncated_exactly_when_it_is_too_long(
    tokenizer: Tokenizer, words: int, length: int, truncated: bool
) -> None:
    [tokens] = tokenizer.encode(["good " * words])
    assert (len(tokens), tokens.truncated) == (length, truncated)


def test_a_truncated_text_keeps_its_beginning_and_its_special_tokens(tokenizer: Tokenizer) -> None:
    short, long = ids(tokenizer, "good film"), ids(tokenizer, "good film " * 100)
    assert long[:3] == short[:3]
    assert long[-1] == short[-1]


def test_several_texts_keep_their_order(tokenizer: Tokenizer) -> None:
    texts = ["good", "x " * 5000, "bad film", " " * 5000 + "late"]
    assert [tokens.ids for tokens in tokenizer.encode(texts)] == [ids(tokenizer, t) for t in texts]


def test_types_are_as_many_as_ids(tokenizer: Tokenizer) -> None:
    [tokens] = tokenizer.encode(["good film"])
    assert tokens.type_ids == [0] * len(tokens)


pieces = st.sampled_from(
    ["good", " ", "\n\t ", "film", "!", "unbelievable", "é", "x" * 120, "爱", "😀", " " * 400]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.lists(pieces, max_size=60).map("".join) | st.text(max_size=2 * WINDOW))
@example(text="x" * (WINDOW + 1))
@example(text=" " * WINDOW + "late")
@example(text="good" + " " * (20 * WINDOW) + "late")
@example(text="\u0301" * (WINDOW + 2))
@example(text=" " * (WINDOW - 95) + "q" * 200)  # cut, a word too long to be known has pieces
@example(text="good " * 29 + " " * (WINDOW - 145 - 95) + "q" * 200)
def test_the_window_gives_what_the_whole_text_would(
    tokenizer: Tokenizer, whole: RustTokenizer, text: str
) -> None:
    [tokens] = tokenizer.encode([text])
    expected = whole.encode(text[:MOST])
    assert tokens.ids == expected.ids
    assert tokens.type_ids == expected.type_ids
    assert tokens.truncated == (bool(expected.overflowing) or len(text) > MOST)


@pytest.mark.parametrize(
    "text",
    [
        "ماشین خیلی خوب است",
        "سرویس عالی بود، ممنون!",
        "שירות מצוין",
        "这部电影真好看",
        "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽",
        "a\u202eb\u200bc",
        "naïve café",
    ],
)
def test_every_script_becomes_tokens(tokenizer: Tokenizer, text: str) -> None:
    [tokens] = tokenizer.encode([text])
    assert len(tokens) > 2
    assert not tokens.truncated


def test_a_megabyte_of_words_costs_no_more_than_the_window(model_folder: Path) -> None:
    tokenizer = CountingTokenizer(model_folder / "tokenizer.json")
    [tokens] = tokenizer.encode(["good film " * 100_000])
    assert tokens.truncated
    assert tokenizer.characters == 512 * CHARACTERS_A_TOKEN


@pytest.mark.parametrize("filler", [" ", "x", "\u0301"])
def test_a_megabyte_of_what_gives_few_tokens_is_cut_and_says_so(
    model_folder: Path, filler: str
) -> None:
    tokenizer = CountingTokenizer(model_folder / "tokenizer.json")
    [tokens] = tokenizer.encode([filler * 1_000_000 + " good"])
    assert tokens.truncated
    assert tokenizer.characters <= 512 * (CHARACTERS_A_TOKEN + MOST_CHARACTERS_A_TOKEN)


def test_a_pair_is_read_as_two_texts_and_is_one_json_list_to_all_else(
    tokenizer: Tokenizer,
) -> None:
    pair = Pair('a "good" film', "bad")
    assert json.loads(pair) == ['a "good" film', "bad"]
    [tokens, first, second] = tokenizer.encode([pair, pair.first, pair.second])
    assert tokens.ids == first.ids + second.ids[1:]  # without the second [CLS]
    assert tokens.type_ids == [0] * len(first) + [1] * (len(second) - 1)
    assert not tokens.truncated


@given(st.text("ab \u2764", max_size=WINDOW), st.text("ab \u2764", max_size=WINDOW))
def test_a_pair_in_the_window_is_truncated_as_the_library_does(
    tokenizer: Tokenizer, whole: RustTokenizer, first: str, second: str
) -> None:
    [tokens] = tokenizer.encode([Pair(first, second)])
    assert len(tokens) <= MAX_TOKENS
    if len(first) + len(second) <= WINDOW:
        plain = whole.encode(first, second)
        assert tokens.ids == plain.ids
        assert tokens.truncated == bool(plain.overflowing)


@pytest.mark.parametrize("text", ["good ", "a" * 99 + " ", " " * 1000 + "a"])
def test_a_pair_of_megabytes_is_cut_and_says_so(tokenizer: Tokenizer, text: str) -> None:
    long = text * (1_000_000 // len(text))
    for pair in (Pair(long, long), Pair("good", long), Pair(long, "good")):
        [tokens] = tokenizer.encode([pair])
        assert tokens.truncated
        assert sum(map(len, pair.cut(WINDOW))) <= WINDOW
    assert "good" in Pair("good", long).cut(WINDOW)


def test_a_missing_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.json is not a usable tokenizer"):
        Tokenizer(tmp_path / "none.json", MAX_TOKENS)
