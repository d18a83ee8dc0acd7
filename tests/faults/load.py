"""Steady load from clients that remember every answer and every failure."""

import asyncio
import itertools
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import httpx
from pydantic import ValidationError

from sentiment_k8s.schemas import Answer, Answers, ErrorBody

AGAIN_SECONDS = 0.2
MOST_LONG_REQUESTS = 100  # more than fit into the spool

SENTENCES = (
    "I love AI!",
    "A waste of time, and of a good cast 😱.",
    "Der Service war langsam, aber das Essen hat alles gerettet.",
    "这部电影真好看。",
    "It is the kind of film that you forget while you are still watching it. " * 8,
)


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: one text in the query, or texts in a body. No two ask for the same text."""

    texts: tuple[str, ...]
    in_query: bool = False
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """An answer: what the log must hold from now on."""

    request: Request
    ids: tuple[str, ...]
    labels: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """A request without an answer; times of `time.monotonic`.

    `what` is the status and `error_type` of an error in our shape (`ours`), or else what came
    instead of one; `broken` if that is the end of the connection.
    """

    request: Request
    what: str
    ours: bool
    broken: bool
    since: float
    until: float

    @property
    def seconds(self) -> float:
        return self.until - self.since


@dataclass
class Load:
    """Clients that ask from `start` to `stop`, in the loop that these are called in.

    A request with a key is sent again, with the same key, until it is answered, and now and then
    twice at once. Any other request is sent once.

    Args:
        url: of the server.
        seed: of what is asked.
        clients: that ask at once, each on a connection of its own.
        rate: requests a second of each client, at most.
        timeout: seconds after which a client takes a request for hung.
    """

    url: str
    seed: int
    clients: int = 8
    rate: float = 10.0
    timeout: float = 30.0
    given: list[Given] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    retries: int = 0

    async def start(self) -> None:
        """Begin to ask."""
        self._stopping = False
        self._numbers = itertools.count()
        self._tasks = [
            asyncio.create_task(self._client(random.Random(f"{self.seed} {client}")))
            for client in range(self.clients)
        ]

    async def stop(self) -> None:
        """Return once what is under way has its answer; what fails is not tried again."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def ask_again(self, earlier: list[Given]) -> None:
        """Send requests with keys again, as a client does that has lost the answer."""
        async with self._connection() as connection:
            for given in earlier:
                await self._ask(connection, given.request)

    async def ask_until_refused(self) -> None:
        """Send long texts until one is refused."""
        long = " ".join(SENTENCES) * 50
        async with self._connection() as connection:
            for _ in range(MOST_LONG_REQUESTS):
                if not await self._ask(connection, self._request([long] * 16)):
                    return
        raise AssertionError("the spool takes everything")

    def _connection(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=2)
        timeout = httpx.Timeout(self.timeout)
        return httpx.AsyncClient(base_url=self.url, timeout=timeout, limits=limits, trust_env=False)

    async def _client(self, choice: random.Random) -> None:
        async with self._connection() as connection:
            while not self._stopping:
                request = self._next(choice)
                if request.key is None:
                    await self._ask(connection, request)
                else:
                    times = choice.choice([1, 1, 1, 2])
                    asking = [self._until_answered(connection, request) for _ in range(times)]
                    await asyncio.gather(*asking)
                await asyncio.sleep(choice.uniform(0, 2 / self.rate))

    def _next(self, choice: random.Random) -> Request:
        kind = choice.choice(["query", "body", "several", "keyed", "several keyed"])
        size = choice.randint(2, 8) if kind.startswith("several") else 1
        sentences = choice.choices(SENTENCES, k=size)
        return self._request(sentences, in_query=kind == "query", with_key=kind.endswith("keyed"))

    def _request(
        self, sentences: Iterable[str], *, in_query: bool = False, with_key: bool = False
    ) -> Request:
        number = next(self._numbers)
        texts = tuple(
            f"{sentence} ({self.seed}, {number}, {part})" for part, sentence in enumerate(sentences)
        )
        return Request(texts, in_query=in_query, key=f"{self.seed}-{number}" if with_key else None)

    async def _until_answered(self, connection: httpx.AsyncClient, request: Request) -> None:
        while not await self._ask(connection, request) and not self._stopping:
            self.retries += 1
            await asyncio.sleep(AGAIN_SECONDS)

    async def _ask(self, connection: httpx.AsyncClient, request: Request) -> bool:
        since = time.monotonic()

        def failed(what: str, *, ours: bool = False, broken: bool = False) -> bool:
            self.failed.append(Failed(request, what, ours, broken, since, time.monotonic()))
            return False

        try:
            response = await _send(connection, request)
        except httpx.TransportError as error:
            return failed(
                type(error).__name__, broken=not isinstance(error, httpx.TimeoutException)
            )
        try:
            if response.status_code != 200:
                error_type = ErrorBody.model_validate_json(response.content).error_type
                return failed(f"{response.status_code} {error_type}", ours=True)
            answers = _answers(response)
        except ValidationError:
            return failed(f"{response.status_code} in no shape of ours")
        ids, labels = (str(one.id) for one in answers), (one.prediction for one in answers)
        seconds = time.monotonic() - since
        if [one.text for one in answers] != list(request.texts):
            return failed("200 with other texts")
        self.given.append(Given(request, tuple(ids), tuple(labels), seconds))
        return True


async def _send(connection: httpx.AsyncClient, request: Request) -> httpx.Response:
    if request.in_query:
        return await connection.get("/predict", params={"text": request.texts[0]})
    one = len(request.texts) == 1
    body = {"text": request.texts[0]} if one else {"texts": request.texts}
    headers = {"Idempotency-Key": request.key} if request.key else {}
    return await connection.post("/predict", json=body, headers=headers)


def _answers(response: httpx.Response) -> list[Answer]:
    if b'"predictions"' in response.content[:16]:
        return Answers.model_validate_json(response.content).predictions
    return [Answer.model_validate_json(response.content)]
