"""Everything that can go wrong, and what HTTP says of it.

SentimentError
├── RequestError                 400   the caller's input is not usable as it is
│   ├── InputError               400   a text or a file that cannot be classified
│   │   └── RowsRefused          400   a row that the database cannot hold, its neighbours kept
│   ├── Unauthorized             401   the log needs a token
│   ├── Forbidden                403   the log is closed here
│   ├── NotFound                 404   no such row, no such route
│   ├── MethodNotAllowed         405   the route exists, not for this method
│   ├── BodyTimeout              408   the body came too slowly
│   ├── TooLarge                 413   body, number of texts, or a text with truncate=false
│   └── KeyReused                422   an idempotency key that stands for another body
├── Overloaded                   429   more tokens in flight than allowed: retry later
├── Unavailable                  503   cannot answer now
│   ├── NotReady                 503   still starting, or stopping
│   └── DatabaseUnavailable      503   no durable row can be written or read
│       └── SpoolFull            503   nor is there room on disk until PostgreSQL is back
├── DeadlineExceeded             504   the answer would come after its deadline
├── InferenceError               500   the model failed on this text
└── StartError                   (no request yet: the process says it and exits)
    ├── SettingsError            a setting has a value that cannot be used
    │   └── SpoolInUse           another process has the spool's folder
    └── ModelError               a model folder or a hub model that cannot be served
"""

from collections.abc import Mapping
from typing import ClassVar
from uuid import UUID


class SentimentError(Exception):
    """Base of all errors; its message is one sentence that says what to do.

    Args:
        message: what happened, to which input, and what to do.
        retry_after: seconds after which a retry makes sense, for 429 and 503.
    """

    status: ClassVar[int] = 500
    error_type: ClassVar[str] = "internal"

    def __init__(self, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after


class RequestError(SentimentError):
    status = 400
    error_type = "bad_request"


class InputError(RequestError):
    error_type = "bad_input"


class RowsRefused(InputError):
    """Every row of an insert is durable but these, whose values the database cannot hold.

    Args:
        refused: by the row's id, the name of the database's objection; never the text.
    """

    error_type = "rows_refused"

    def __init__(self, refused: Mapping[UUID, str]) -> None:
        super().__init__(
            f"The log cannot hold this text ({next(iter(refused.values()))}): leave out characters "
            "that are not valid Unicode, and NUL."
        )
        self.refused = refused


class Unauthorized(RequestError):
    status = 401
    error_type = "unauthorized"


class Forbidden(RequestError):
    status = 403
    error_type = "forbidden"


class NotFound(RequestError):
    status = 404
    error_type = "not_found"


class MethodNotAllowed(RequestError):
    status = 405
    error_type = "method_not_allowed"


class BodyTimeout(RequestError):
    status = 408
    error_type = "body_timeout"


class TooLarge(RequestError):
    status = 413
    error_type = "too_large"


class KeyReused(RequestError):
    status = 422
    error_type = "key_reused"


class Overloaded(SentimentError):
    status = 429
    error_type = "overloaded"


class Unavailable(SentimentError):
    status = 503
    error_type = "unavailable"


class NotReady(Unavailable):
    error_type = "not_ready"


class DatabaseUnavailable(Unavailable):
    error_type = "database_unavailable"


class SpoolFull(DatabaseUnavailable):
    error_type = "spool_full"


class DeadlineExceeded(SentimentError):
    status = 504
    error_type = "deadline_exceeded"


class InferenceError(SentimentError):
    error_type = "inference_failed"


class StartError(SentimentError):
    error_type = "start"


class SettingsError(StartError):
    error_type = "settings"


class SpoolInUse(SettingsError):
    error_type = "spool_in_use"


class ModelError(StartError):
    error_type = "model"
