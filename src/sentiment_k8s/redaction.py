"""Takes out of a text what names a person by number or address: see docs/privacy.md.

Every pattern reads any text in linear time: it is bounded, or begins at the start of a run of its
own characters, or never steps back (`++`, `*+`). And redacting again changes nothing: what stands
for a match has brackets around it, which no pattern contains; no match splits a group of digits;
and where readings overlap, all of them go.
"""

import re
from collections.abc import Iterable, Iterator
from ipaddress import AddressValueError, IPv6Address
from itertools import chain

Span = tuple[int, int, str]  # start, end, what it is

# The last @ before the path ends user and password, also when nobody encoded those in them.
URL_USER = re.compile(r"://[^\s/?#\[\]]+@")
# Whole runs are eaten, addresses or not, so that no run is read twice.
EMAIL = re.compile(r"[\w.!#$%&'*+^`{|}~-]++(@[\w-]++(?:\.[\w-]++)++)?")

IBAN_START = re.compile(r"[A-Z]{2}\d\d", re.ASCII | re.IGNORECASE)
IBAN_LENGTHS = {  # SWIFT's IBAN registry, release 99
    country: int(length)
    for country, length in re.findall(
        r"([A-Z]{2})(\d\d)",
        """
        AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24
        DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27
        GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20
        LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24
        PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25
        SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30
        """,
    )
}
IBAN_BODIES = {
    length: re.compile(rf"(?:[ \xa0-]?[A-Z0-9]){{{length - 4}}}", re.ASCII | re.IGNORECASE)
    for length in set(IBAN_LENGTHS.values())
}

# Groups of two digits and more; what of them is a card, its check digit says.
CARD_GROUPS = re.compile(r"(?<!\d)(?=((?!0)\d\d++(?:[ \xa0.\-\u2011]\d\d++){0,8}+))")
CARD_DIGITS = range(13, 20)
DIGIT_SUM_OF_DOUBLE = bytes.maketrans(b"0123456789", b"0246813579")
GROUP = re.compile(r"\d+")

OCTET = r"(?:25[0-5]|2[0-4]\d|[01]?\d?\d)"
# 01.02.2024 and 01/02/24, which a time may follow, are no beginnings of a phone number.
DATE = r"\d\d([./-])\d\d\1\d\d(?:\d\d)?(?!\d|\1\d)"
BETWEEN = r"[ \xa0./()\-\u2010-\u2015]{0,2}"
# Each is looked for at every place, also inside another's match: all readings count. What ends in a
# digit is not followed by one.
NUMBERS = [
    (kind, re.compile(rf"(?=({pattern})(?:(?<=[Xx])|(?!\d)))"))
    for kind, pattern in (
        ("ip", rf"(?<!\d)(?:{OCTET}\.){{3}}{OCTET}"),
        # of the United States; of China, with the birthday in it
        ("id", r"(?<!\d)(?!000|666)\d{3}(?P<dash>[ -])(?!00)\d\d(?P=dash)(?!0000)\d{4}"),
        ("id", r"(?<!\d)[1-9]\d{5}(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])\d{3}[\dXx]"),
        # international; with the trunk prefix 0, as in most countries; with a code in parentheses
        ("phone", rf"(?:\+|(?<!\d)00){BETWEEN}[1-9](?:{BETWEEN}\d){{6,14}}"),
        ("phone", rf"(?<!\d)(?!{DATE})0[1-9](?:{BETWEEN}\d){{7,10}}".replace("\\1", "\\2")),
        ("phone", rf"\(0?[1-9]\d{{1,3}}\)(?:{BETWEEN}\d){{6,9}}"),
        # North America; China; India; Russia; Spain and others without a trunk prefix
        ("phone", r"(?<!\d)(?:1[ .-]?)?[2-9]\d\d(?:[ .-]?[2-9]\d\d[ .-]?|[ .-]\d{3}[ .-])\d{4}"),
        ("phone", r"(?<!\d)1[3-9]\d[ -]?\d{4}[ -]?\d{4}"),
        ("phone", r"(?<!\d)[6-9]\d{4}[ -]?\d{5}"),
        ("phone", rf"(?<!\d)8{BETWEEN}[3-9]\d\d{BETWEEN}\d{{3}}[ -]?\d\d[ -]?\d\d"),
        ("phone", r"(?<!\d)[6-9]\d\d(?:[ -](?!000)\d{3}[ -]\d{3}|[ -]\d\d[ -]\d\d[ -]\d\d)"),
    )
]

# All that numbers are written with; whatever is shorter holds none that is looked for.
NUMBER_RUN = re.compile(r"[\dXx+ \xa0./()\-\u2010-\u2015]{7,}+")

COLON_RUN = re.compile(r"[\w:.]++")
MOST_IN_AN_IPV6_ADDRESS = 45


def redact(text: str) -> str:
    """The text with `[email]`, `[phone]`, `[card]`, `[iban]`, `[ip]`, `[id]` and `[user]` (of a
    URL) in the places of what they say. Redacting twice is the same as once.

    The order matters: each step leaves to the next ones only what is not its own.
    """
    if "@" in text:
        text = URL_USER.sub("://[user]@", text)
        text = EMAIL.sub(lambda run: "[email]" if run[1] else run[0], text)
    if GROUP.search(text):
        text = _replaced(text, _ibans(text))
        runs = NUMBER_RUN.finditer(text)
        text = _replaced(text, chain.from_iterable(_numbers(text, *run.span()) for run in runs))
        if text.count(":") > 1:
            text = COLON_RUN.sub(_ipv6, text)
    return text


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    backwards = str(int(digits)).encode()[::-1]  # in ASCII, whatever the script was
    values = sum(backwards[::2]) + sum(backwards[1::2].translate(DIGIT_SUM_OF_DOUBLE))
    return (values - ord("0") * len(backwards)) % 10 == 0


def passes_mod_97(iban: str) -> bool:
    """Whether the check digits of an IBAN without blanks are right (ISO 13616-1, ISO 7064)."""
    return int("".join(str(int(sign, 36)) for sign in iban[4:] + iban[:4])) % 97 == 1


def _ibans(text: str) -> Iterator[Span]:
    for start in IBAN_START.finditer(text):
        length = IBAN_LENGTHS.get(start[0][:2].upper())
        body = length and IBAN_BODIES[length].match(text, start.end())
        if body and passes_mod_97(re.sub(r"[ \xa0-]", "", start[0] + body[0])):
            yield start.start(), body.end(), "iban"


def _numbers(text: str, start: int, end: int) -> Iterator[Span]:
    for kind, pattern in NUMBERS:
        for found in pattern.finditer(text, start, end):
            yield *found.span(1), kind
    for found in CARD_GROUPS.finditer(text, start, end):
        if card := _card(found[1]):
            yield found.start(), found.start() + card, "card"


def _card(groups: str) -> int | None:
    """Where the longest card number ends that groups of digits begin with."""
    digits = ""
    end = None
    for group in GROUP.finditer(groups):
        if len(digits) + group.end() - group.start() > CARD_DIGITS[-1]:
            break
        digits += group[0]
        if len(digits) in CARD_DIGITS and passes_luhn(digits):
            end = group.end()
    return end


def _ipv6(run: re.Match[str]) -> str:
    address = run[0].rstrip(".")
    if address.count(":") < 2 or len(address) > MOST_IN_AN_IPV6_ADDRESS:
        return run[0]
    try:
        IPv6Address(address)
    except AddressValueError:
        return run[0]
    # `a::b` is a valid address too, and much more often a name in a program.
    return f"[ip]{run[0][len(address) :]}" if GROUP.search(address) else run[0]


def _replaced(text: str, spans: Iterable[Span]) -> str:
    """The text with a token for each span; spans that overlap have one together, of the first and
    longest one's kind."""
    parts = []
    done = 0  # up to here the text is in `parts`, or stands for a token
    for start, end, kind in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start >= done:
            parts += [text[done:start], f"[{kind}]"]
        done = max(done, end)
    return "".join([*parts, text[done:]])
