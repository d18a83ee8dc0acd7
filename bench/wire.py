"""How servers are asked and what their answers say: one `Wire` a protocol."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

Body = Callable[[Sequence[str]], Any]
Read = Callable[[Any], list["Scored"]]


class Scored(NamedTuple):
    """The label that a server gave a text, and its score."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Wire:
    """A protocol for text classification over HTTP/1.1.

    Args:
        name: as `--protocol` says it.
        path: of a POST; with `body` None, that of a GET up to the text.
        body: texts to what is sent as JSON.
        read: an answer's JSON to a label for each text, in order; raises on any other answer.
        batches: whether a request may have several texts.
    """

    name: str
    path: str
    body: Body | None
    read: Read
    batches: bool = True

    def request(self, texts: Sequence[str]) -> bytes:
        """A whole request, on a connection that stays open; in the protocol's form for one text
        if there is one."""
        if self.body is None:
            [text] = texts
            return f"GET {self.path}{quote(text)} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
        body = json.dumps(self.body(texts)).encode()
        return (
            f"POST {self.path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def labels(self, body: bytes) -> list[Scored]:
        """What the body of a 200 says, a label for each text.

        Raises:
            ValueError: it is no such answer; the book's app says 200 with an error inside.
        """
        try:
            return self.read(json.loads(body))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            raise ValueError(f"not an answer of {self.name}: {body[:200]!r}") from None


def ours(path: str = "/predict") -> Wire:
    """Our own form of `POST /predict`."""

    def read(answer: Any) -> list[Scored]:
        rows = answer.get("predictions", [answer])
        return [Scored(row["prediction"], row["score"]) for row in rows]

    return Wire("ours", path, _single_or("text", "texts", list), read)


def seed(path: str = "/predict?text=") -> Wire:
    """The book's `GET /predict?text=...`, one text at a time."""
    return Wire(
        "seed", path, None, lambda row: [Scored(row["prediction"], row["score"])], batches=False
    )


def tei(path: str = "/predict") -> Wire:
    """text-embeddings-inference: a string answers a list of labels, `[["a"], ["b"]]` a list of
    such lists (`["a", "b"]` would be one pair)."""

    def read(answer: Any) -> list[Scored]:
        return [_best(one) for one in (answer if isinstance(answer[0], list) else [answer])]

    return Wire(
        "tei", path, _single_or("inputs", "inputs", lambda texts: [[t] for t in texts]), read
    )


def infinity(model: str, path: str = "/classify") -> Wire:
    """Infinity's `/classify`.

    Args:
        model: as `--served-model-name` called it.
    """
    return Wire(
        "infinity",
        path,
        lambda texts: {"model": model, "input": list(texts)},
        lambda answer: [_best(one) for one in answer["data"]],
    )


def listed(path: str) -> Wire:
    """`{"texts": [...]}` to a list of `{"label", "score"}`: the form of the servers that we wrote
    with frameworks that set none (peers/inside/engines.py)."""
    return Wire(
        "listed",
        path,
        lambda texts: {"texts": list(texts)},
        lambda answer: list(map(_best, answer)),
    )


def v2(model: str, tensor: str = "text") -> Wire:
    """Open Inference Protocol V2 with tensors as JSON: KServe, MLServer, Triton, and ours.

    Args:
        model: its name in the path.
        tensor: the name of the input that takes the texts.
    """

    def body(texts: Sequence[str]) -> Any:
        text = {"name": tensor, "datatype": "BYTES", "shape": [len(texts)], "data": list(texts)}
        return {"inputs": [text]}

    return Wire("v2", f"/v2/models/{model}/infer", body, _v2_labels)


def named(protocol: str) -> Wire:
    """A protocol as the command line says it: its name, and what it takes after colons: `tei`,
    `v2:MODEL`, `v2:MODEL:TENSOR`, `infinity:MODEL`.

    Raises:
        ValueError: there is no such protocol, or it takes something else.
    """
    name, *arguments = protocol.split(":")
    known: dict[str, Callable[..., Wire]] = {
        "ours": ours, "seed": seed, "tei": tei, "infinity": infinity, "v2": v2
    }  # fmt: skip
    try:
        return known[name](*arguments)
    except (KeyError, TypeError):
        raise ValueError(
            f"{protocol!r} is no protocol: say ours, seed, tei, infinity:MODEL or v2:MODEL."
        ) from None


def _v2_labels(answer: Any) -> list[Scored]:
    """Either outputs `label` and `score`, or one output whose strings are JSON objects with these
    (mlserver-huggingface)."""
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    if "label" in outputs:
        return list(map(Scored, outputs["label"], outputs["score"]))
    [strings] = outputs.values()
    return [_best(json.loads(one)) for one in strings]


def _single_or(
    single: str, several: str, batch: Callable[[Sequence[str]], Any]
) -> Callable[[Sequence[str]], Any]:
    def body(texts: Sequence[str]) -> Any:
        return {single: texts[0]} if len(texts) == 1 else {several: batch(texts)}

    return body


def _best(scores: Any) -> Scored:
    """The greatest of one text's scores, which may be one alone."""
    rows = [scores] if isinstance(scores, dict) else scores
    return max((Scored(row["label"], row["score"]) for row in rows), key=lambda one: one.score)


OURS, SEED, TEI = ours(), seed(), tei()
