import random
import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sentiment_k8s.redaction import IBAN_LENGTHS, passes_luhn, passes_mod_97, redact

FOUND = [
    # e-mail addresses
    ("write to joe@example.com.", "write to [email]."),
    ("<j.o'neil+list@mail.example.co.uk>", "<[email]>"),
    ("用户@例子.广告 写的", "[email] 写的"),
    ("mailto:a@b.io?subject=hi", "mailto:[email]?subject=hi"),
    ("a@b.de,c@d.fr;e@f.it", "[email],[email];[email]"),
    ("one@example.com+two@example.com", "[email][email]"),
    # users in URLs
    ("postgresql://joe:s3cret@db:5432/ai", "postgresql://[user]@db:5432/ai"),
    ("https://joe@example.com/path", "https://[user]@example.com/path"),
    ("ftp://u:p@ss@host/", "ftp://[user]@host/"),
    # card numbers
    ("card 4111 1111 1111 1111!", "card [card]!"),
    ("4111-1111-1111-1111", "[card]"),
    ("378282246310005", "[card]"),
    ("5 4111 1111 1111 1111", "5 [card]"),
    ("6304 0000 0000 0000 000", "[card]"),
    ("４１１１１１１１１１１１１１１１", "[card]"),
    # IBANs
    ("pay DE89 3704 0044 0532 0130 00 now", "pay [iban] now"),
    ("GB82WEST12345698765432", "[iban]"),
    ("fr14 2004 1010 0505 0001 3m02 606", "[iban]"),
    # phone numbers: international
    ("+49 30 1234567", "[phone]"),
    ("+49 (0)30 123456-78", "[phone]"),
    ("+1 (555) 123-4567", "[phone]"),
    ("+86 138 0013 8000", "[phone]"),
    ("0044 20 7946 0958", "[phone]"),
    ("call +442079460958 now", "call [phone] now"),
    # with a trunk prefix
    ("020 7946 0958", "[phone]"),
    ("06 12 34 56 78", "[phone]"),
    ("06.12.34.56.78", "[phone]"),
    ("030/1234567", "[phone]"),
    ("(030) 123 45 67", "[phone]"),
    ("(11) 91234-5678", "[phone]"),
    # North America, China, India, Russia, Spain
    ("555-123-4567", "[phone]"),
    ("(555) 123-4567", "[phone]"),
    ("1-800-555-0199", "[phone]"),
    ("2125550123", "[phone]"),
    ("13800138000", "[phone]"),
    ("138 0013 8000", "[phone]"),
    ("98765 43210", "[phone]"),
    ("8 (912) 345-67-89", "[phone]"),
    ("612 345 678", "[phone]"),
    # network addresses
    ("from 192.168.0.1:8080", "from [ip]:8080"),
    ("2001:db8::8a2e:370:7334 answers", "[ip] answers"),
    ("at fe80::1.", "at [ip]."),
    ("::ffff:10.0.0.1", "::ffff:[ip]"),
    # national numbers
    ("SSN 123-45-6789", "SSN [id]"),
    ("11010519491231002X", "[id]"),
]

KEPT = [
    "a gripping , funny and touching film",
    "10/10, would watch again in 2024!",
    "on 2024-01-02, or 01.02.2024 10:30, or 01/02/24 1030",
    "at 12:30:45 it cost $1,234,567.89",
    "0.123456789 of 1 000 000 000",
    "1700000000 and 1700000000000 are times",
    "4111 1111 1111 1112 has a wrong check digit",
    "GB83 WEST 1234 5698 7654 32 has a wrong one too",
    "std::vector, a::b and :: are no addresses",
    "300.1.1.1 is none, nor is 1.2.3",
    "@joe and joe@localhost are names",
    "000-12-1234 was never given out",
    "https://example.com/@joe/posts",
    "ISBN 978-3-16-148410-0",
    "我喜欢这部电影 👩‍👩‍👧‍👦",
    "[email] [phone] [card]",
    "",
]


@pytest.mark.parametrize(("text", "redacted"), FOUND)
def test_what_names_a_person_is_taken_out(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@pytest.mark.parametrize("text", KEPT)
def test_everything_else_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_numbers_that_overlap_go_together() -> None:
    assert redact("06 12 34 56 78 06 12 34 56 78") == "[phone]"
    assert redact("1.2.3.4.5") == "[ip]"


# Pieces of what is looked for, so that they meet in all ways.
PIECES = st.sampled_from(
    [found for found, _ in FOUND]
    + list("0123456789+@.:-/()[] \u00a0ax_")
    + ["4111", "1111", "://", "00", "DE89", "::", "12.12.12", "a@b.c", "555", "\n"]
)
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=30).map("".join))


@given(TEXTS)
@example("x@y.com+c@d.com")
@example("5551234567:2001:db8::1")
@example("DE8937040044053201300041111111111111111")
@example("5 4111 1111 1111 1111")
@example("10000019000100000X4111111111111111")
def test_redacting_twice_is_the_same_as_once(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


def with_check_digit(digits: str) -> str:
    return next(digits + last for last in "0123456789" if passes_luhn(digits + last))


CARDS = st.from_regex(r"[1-9]\d{11,17}", fullmatch=True).map(
    lambda digits: with_check_digit(re.sub(r"\D", "0", digits))
)
WORDS = st.text(st.characters(exclude_categories=["Nd", "Cs"]), max_size=20)


@given(CARDS, st.sampled_from(["", " ", "-"]), st.integers(2, 6), WORDS, WORDS)
def test_no_digit_of_a_card_survives(
    card: str, dash: str, group: int, before: str, after: str
) -> None:
    groups = [card[start : start + group] for start in range(0, len(card), group)]
    if len(groups[-1]) == 1:  # people do not write a digit alone
        groups[-2:] = ["".join(groups[-2:])]
    redacted = redact(f"{before} {dash.join(groups)} {after}")
    assert not re.search(r"\d", redacted)


@given(
    st.sampled_from(sorted(IBAN_LENGTHS)),
    st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=29, max_size=29),
    st.booleans(),
    WORDS,
)
def test_every_ibans_account_goes(country: str, account: str, in_fours: bool, before: str) -> None:
    body = account[: IBAN_LENGTHS[country] - 4]
    iban = next(
        f"{country}{check:02}{body}"
        for check in range(2, 99)
        if passes_mod_97(f"{country}{check:02}{body}")
    )
    if in_fours:
        iban = " ".join(iban[start : start + 4] for start in range(0, len(iban), 4))
    assert redact(f"{before} {iban} ok").endswith(" [iban] ok")


HOSTILE = [
    "a", "@", "a@", "a@b.", "a.", ".@", "://", "://a@", "://a", "1", "0", "1 ", "11 ", "00 ", "0 ",
    "+1", "+1 (", "(1", "(0) ", "(10) ", "01 ", "001 ", "1-1/1(", "06 ", "4111 ", "1111-", "1.",
    "1.1.1.1.", "12.12.12", "01.01.01.", "DE89", "DE89 3704 0044 ", "AA00", ":",
    "a:b:", "::", "f:", "8(", "19900101", "é",
]  # fmt: skip


def seconds(text: str) -> float:
    started = time.process_time()
    redact(text)
    return time.process_time() - started


@pytest.mark.parametrize("piece", HOSTILE)
def test_time_grows_with_the_length_of_a_hostile_text_and_no_faster(piece: str) -> None:
    # Sixteen times the length takes 16 times the time if it is linear, 256 times if it is not.
    # The best of three of each: a busy machine only ever makes it slower.
    short, long = ((piece * size)[:size] for size in (2**12, 2**16))
    base = max(min(seconds(short) for _ in range(3)), 0.0005)
    assert min(seconds(long) for _ in range(3)) < 64 * base


def test_two_megabytes_of_everything_at_once_are_read_to_their_end() -> None:
    chance = random.Random(0)
    pieces = [found for found, _ in FOUND] + HOSTILE
    text = "".join(chance.choices(pieces, k=400_000))[: 2 * 2**20]
    assert len(redact(text)) < len(text)
