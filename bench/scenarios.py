"""What servers are asked in a comparison: which texts, how many at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import texts

if TYPE_CHECKING:
    from sentiment_k8s.tokenizer import Tokenizer

TAIL_TEXTS, LONG_TEXTS, LONG_TOKENS = 1024, 256, 128


@dataclass(frozen=True, slots=True)
class Scenario:
    """A load.

    Args:
        name: on the command line.
        what: in words, for the tables.
        texts: which kind, a key of `texts_of`.
        clients: that each send their next request when they have an answer; for an open loop 0.
        batch: texts a request.
    """

    name: str
    what: str
    texts: str
    clients: int
    batch: int = 1


CAPACITY = "64"  # half of what a server does in this one is its load in the next one
HALF = "half"
# Half of a faster server's own capacity is more; here all have the same load.
SAME, SAME_RATE = "same", 200.0
OPEN = (HALF, SAME)
# The heaviest comes last: some servers remember for a while how long they let others wait.
SCENARIOS = {
    one.name: one
    for one in (
        Scenario("1", "1 client", "sst2", 1),
        Scenario("8", "8 clients", "sst2", 8),
        Scenario("64", "64 clients", "sst2", 64),
        Scenario(HALF, "half load, open loop", "sst2", 0),
        Scenario(SAME, f"{SAME_RATE:.0f} texts/s for all, open loop", "sst2", 0),
        Scenario("batch32", "batches of 32, 4 clients", "sst2", 4, batch=32),
        Scenario("tail", "long tail, 64 clients", "tail", 64),
        Scenario("long", "128 tokens, 8 clients", "long", 8),
        Scenario("512", "512 clients", "sst2", 512),
    )
}


def texts_of(sentences: Sequence[str], tokenizer: "Tokenizer") -> Mapping[str, Sequence[str]]:
    """The texts of each kind: the sentences as they are, the long tail, and all of one length."""
    return {
        "sst2": sentences,
        "tail": texts.composed(sentences, texts.long_tail(TAIL_TEXTS), tokenizer),
        "long": texts.composed(sentences, [LONG_TOKENS] * LONG_TEXTS, tokenizer),
    }
