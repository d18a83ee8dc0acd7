"""Every metric, declared once, in base units."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE

__all__ = ["CONTENT_TYPE", "Metrics"]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """What Prometheus reads. One object a process; it owns its registry."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "sentiment_requests_total", "Requests answered.", ["route", "status"], registry=registry
        )
        self._answered: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self.request_seconds = Histogram(
            "sentiment_request_seconds",
            "From the request's head to the end of the answer.",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self.predictions = Counter(
            "sentiment_predictions_total", "Texts answered.", ["label"], registry=registry
        )
        self.tokens = Counter(
            "sentiment_tokens_total", "Tokens computed, padding apart.", registry=registry
        )
        self.padding = Counter(
            "sentiment_padding_tokens_total", "Tokens computed in vain.", registry=registry
        )
        self.batch_texts = Histogram(
            "sentiment_batch_texts", "Texts in a batch.", buckets=SIZES, registry=registry
        )
        self.queue_seconds = Histogram(
            "sentiment_queue_seconds",
            "From admission to the start of a text's batch.",
            buckets=SECONDS,
            registry=registry,
        )
        self.inference_seconds = Histogram(
            "sentiment_inference_seconds", "A batch's run.", buckets=SECONDS, registry=registry
        )
        self.replays = Counter(
            "sentiment_replays_total",
            "Requests answered as before, by their idempotency key.",
            registry=registry,
        )
        self.rows = Counter(
            "sentiment_rows_total", "Rows of the log made durable.", registry=registry
        )
        self.commit_seconds = Histogram(
            "sentiment_commit_seconds",
            "A group commit, failed ones too.",
            buckets=SECONDS,
            registry=registry,
        )
        self.commit_failures = Counter(
            "sentiment_commit_failures_total", "Group commits that failed.", registry=registry
        )
        self.spooled = Counter(
            "sentiment_spooled_rows_total", "Rows written to the spool.", registry=registry
        )
        self.drained = Counter(
            "sentiment_drained_rows_total",
            "Rows that left a spool for PostgreSQL, those that it had or has erased too.",
            registry=registry,
        )
        self.spool_write_seconds = Histogram(
            "sentiment_spool_write_seconds",
            "A group's write to the spool and its sync.",
            buckets=SECONDS,
            registry=registry,
        )
        self.spool_failures = Counter(
            "sentiment_spool_failures_total",
            "Groups that the spool did not take: full, or its disk failed.",
            registry=registry,
        )
        self.spool_damaged_records = Counter(
            "sentiment_spool_damaged_records_total",
            "Records of a spool that were set aside: unreadable, or refused by PostgreSQL.",
            registry=registry,
        )
        self.spool_torn_bytes = Counter(
            "sentiment_spool_torn_bytes_total",
            "Bytes cut off a spool: writes that had not ended, so that nobody was answered.",
            registry=registry,
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count and time an answered request."""
        children = self._answered.get((route, status))
        if children is None:  # looking labels up costs more than counting
            children = self.requests.labels(route, status), self.request_seconds.labels(route)
            self._answered[route, status] = children
        requests, request_seconds = children
        requests.inc()
        request_seconds.observe(seconds)

    def gauge(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """Add a gauge that is read when Prometheus asks."""
        Gauge(name, help_text, registry=self.registry).set_function(value)

    def exposition(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)
