"""The log as PostgreSQL has it, read past our own server."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from .load import Answer
from .namespace import Namespace, going, name_of, ready
from .waiting import wait_until


class Row(NamedTuple):
    id: str
    text: str


class Log:
    """The table `predictions` of the PostgreSQL behind the Service `postgresql`.

    Args:
        database: the book's names by default.
    """

    def __init__(self, namespace: Namespace, database: str = "ai_db", user: str = "user") -> None:
        self.namespace = namespace
        self._psql = ["psql", "--username", user, "--dbname", database, "--no-psqlrc", "--quiet"]

    @property
    def labels(self) -> str:
        selector = self.namespace.get("service", "postgresql")["spec"]["selector"]
        return ",".join(f"{name}={value}" for name, value in selector.items())

    def pod(self) -> str:
        """Its pod, once it is ready."""

        def look() -> list[str]:
            pods = self.namespace.objects("pods", self.labels)
            return [name_of(pod) for pod in pods if ready(pod) and not going(pod)]

        return wait_until("a ready PostgreSQL", look, seconds=120)[0]

    @contextmanager
    def away(self) -> Iterator[None]:
        """No PostgreSQL within a `with` block; after it, there is a ready one again."""
        statefulset = self.namespace.owner(self.pod())
        self.namespace.kubectl("scale", statefulset, "--replicas=0")
        self.namespace.kubectl("wait", "--for=delete", "pod", "--selector", self.labels)
        yield
        self.namespace.kubectl("scale", statefulset, "--replicas=1")
        self.pod()

    def query(self, sql: str) -> str:
        options = ["--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--command", sql]
        return self.namespace.kubectl("exec", self.pod(), "--", *self._psql, *options)

    def rows(self) -> list[Row]:
        lines = self.query("COPY (SELECT id, text FROM predictions) TO STDOUT").splitlines()
        return [Row(*line.split("\t", 1)) for line in lines]

    def bytes_a_row(self) -> float:
        """On disk, indexes included."""
        size = "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('predictions')"
        return round(int(self.query(size)) / len(self.rows()), 1)

    def assert_keeps(self, answers: Iterable[Answer]) -> dict[str, int]:
        """Every answered prediction is a row, no text is a row twice.

        Returns:
            The figures: rows, lost ones, ones written twice.
        """
        rows = self.rows()
        texts = {row.id: row.text for row in rows}
        asked = {answer.text for answer in answers}
        twice = [text for text, number in Counter(row.text for row in rows).items() if number > 1]
        twice = [text for text in twice if text in asked]
        lost = [
            answer for answer in answers
            if not answer.failed and texts.get(answer.id) != answer.text
        ]  # fmt: skip
        assert not lost, f"{len(lost)} answers are no row, the first: {lost[0]}"
        assert not twice, f"{len(twice)} texts are a row more than once, the first: {twice[0]}"
        assert len(texts) == len(rows), "an id stands in two rows"
        return {"rows": len(rows), "lost_rows": len(lost), "rows_twice": len(twice)}
