"""Traffic while something happens: each connection asks again as soon as it has its answer.

Nothing is asked twice. A client that finds nobody at the other end of a new connection has sent
nothing yet; it tries again, as Envoy and browsers do, and that is counted apart: `unconnected`.
"""

import asyncio
import itertools
import threading
import time
from dataclasses import dataclass, field
from statistics import quantiles
from types import TracebackType
from typing import Self

import httpx

from .waiting import wait_until

ANSWER_SECONDS = 40.0  # more than the server's deadline
CONNECT_SECONDS = 2.0
AGAIN_SECONDS = 0.05
TRIES = 200
MOST_REQUESTS = 300_000
FIRST_ANSWER_SECONDS = 60.0  # by then even a request without an answer has failed

SENTENCES = (
    "I love AI!",
    "A waste of time, and of a good cast.",
    "The service was slow, but the food made more than up for it in the end.",
    "It is the kind of film that you forget while you are still watching it.",
    "Everything about this little machine is a joy, from the box to the last detail.",
    "Not bad at all, although I would not go out of my way to see it a second time, to be honest.",
)
_loads = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request. `status` is 0 where no answer came; `at` is when it was sent."""

    text: str
    at: float
    seconds: float
    status: int
    id: str = ""
    error: str = ""
    error_type: str = ""

    @property
    def failed(self) -> bool:
        # The book's own app answers 200 with an error inside.
        return self.status != 200 or bool(self.error)


@dataclass
class Load:
    """Traffic from the start of a `with` block to its end.

    Args:
        url: of the Service, or of the ingress controller.
        connections: open at once, each with one request under way.
        host: the Host header, where it is not the URL's.
        renew: requests after which a client opens a new connection, so that new pods get some.
        words: added to each text to make it longer.
    """

    url: str
    connections: int = 8
    host: str | None = None
    renew: int | None = None
    words: str = ""
    answers: list[Answer] = field(default_factory=list)
    unconnected: list[float] = field(default_factory=list)  # when
    seconds: float = 0.0

    def __post_init__(self) -> None:
        name = f"load {next(_loads)}"
        self._texts = (
            f"{sentence} {self.words}({name}, {number})"
            for number, sentence in enumerate(itertools.cycle(SENTENCES))
        )
        self._extensions = {"sni_hostname": self.host} if self.host else {}
        self._stop = threading.Event()
        self._answered = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name)

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._thread.start()
        if not self._answered.wait(FIRST_ANSWER_SECONDS):
            self.__exit__(None, None, None)
            raise AssertionError(f"nothing answers at {self.url}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.seconds = time.monotonic() - self._started

    @property
    def good(self) -> list[Answer]:
        return [answer for answer in self.answers if not answer.failed]

    @property
    def failed(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.failed]

    def more(self, requests: int, *, seconds: float = 120) -> None:
        """Go on until so many more requests have been answered, well or not."""
        goal = len(self.answers) + requests
        wait_until(f"{requests} more answers", lambda: len(self.answers) >= goal, seconds=seconds)

    def last(self, seconds: float) -> None:
        """Go on for so long."""
        self._stop.wait(seconds)

    def since(self, moment: float) -> list[Answer]:
        """The answers to what was sent after a moment of `time.monotonic`."""
        return [answer for answer in self.answers if answer.at >= moment]

    def figures(self) -> dict[str, float]:
        """Requests, failures, latency in milliseconds, rate."""
        return {
            "requests": len(self.answers),
            "failed": len(self.failed),
            "unconnected": len(self.unconnected),
            **latency(self.good),
            "texts_per_second": round(len(self.good) / (self.seconds or 1), 1),
            "seconds": round(self.seconds, 1),
        }

    def assert_nothing_failed(self) -> None:
        assert self.answers, "no request was sent"
        assert not self.failed, describe(self.failed)
        assert not self.unconnected, f"{len(self.unconnected)} connections found nobody"

    def _run(self) -> None:
        asyncio.run(self._all())

    async def _all(self) -> None:
        await asyncio.gather(*(self._client() for _ in range(self.connections)))

    async def _client(self) -> None:
        while not self._done():
            async with httpx.AsyncClient(
                base_url=self.url,
                headers={"Host": self.host} if self.host else None,
                timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
                limits=httpx.Limits(max_connections=1),
                trust_env=False,
                verify=False,
            ) as client:
                for _ in itertools.count() if self.renew is None else range(self.renew):
                    if self._done():
                        return
                    answer = await self._ask(client, next(self._texts))
                    self.answers.append(answer)
                    self._answered.set()
                    if answer.failed:  # a person would look up, not hammer
                        await asyncio.sleep(AGAIN_SECONDS)

    async def _ask(self, client: httpx.AsyncClient, text: str) -> Answer:
        at = time.monotonic()

        def answer(status: int, body: dict[str, str]) -> Answer:
            found = (body.get(name, "") for name in ("id", "error", "error_type"))
            return Answer(text, at, time.monotonic() - at, status, *found)

        for _ in range(TRIES):
            try:
                response = await client.get(
                    "/predict", params={"text": text}, extensions=self._extensions
                )
                body = response.json()
            except (httpx.ConnectError, httpx.ConnectTimeout):
                self.unconnected.append(at)
                if self._stop.is_set():
                    break
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            except (httpx.HTTPError, ValueError) as error:
                return answer(0, {"error": f"{type(error).__name__}: {error}"})
            return answer(response.status_code, body)
        return answer(0, {"error": "no connection, however often it was tried"})

    def _done(self) -> bool:
        return self._stop.is_set() or len(self.answers) >= MOST_REQUESTS


def latency(answers: list[Answer]) -> dict[str, float]:
    """Median, 99th percentile and the worst, in milliseconds."""
    seconds = [answer.seconds for answer in answers]
    if len(seconds) < 2:
        return {}
    cuts = quantiles(seconds, n=100, method="inclusive")
    named = {"p50_ms": cuts[49], "p99_ms": cuts[98], "worst_ms": max(seconds)}
    return {name: round(value * 1e3, 1) for name, value in named.items()}


def describe(answers: list[Answer]) -> str:
    """Failures in groups, with how many there are of each and when."""
    first = min((answer.at for answer in answers), default=0.0)
    groups: dict[tuple[int, str], list[float]] = {}
    for answer in answers:
        groups.setdefault((answer.status, answer.error), []).append(answer.at - first)
    return "\n".join(
        f"{len(times)} x {status or 'no answer'}: {error} (from {min(times):.2f} to "
        f"{max(times):.2f} s after the first)"
        for (status, error), times in groups.items()
    )
