"""What goes over the wire: requests are parsed by these models, answers are documented by them.

Requests are strict: a number is no text, and an unknown field is an error, since it is a typing
mistake more often than not.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, Self, TypeVar
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from .errors import InputError, RequestError
from .privacy import TextKeeper
from .records import PredictionRow, iso
from .search import Filters

Model = TypeVar("Model", bound=BaseModel)
Other = TypeVar("Other", bound=BaseModel)

MOST_ERRORS_READ = 100  # each is a dictionary, and a body of two mebibytes can have a million


NO_NUL = r"^[^\x00]*$"  # see docs/decisions/0003-nul.md


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Subject = Annotated[
    str | None,
    Field(
        max_length=256,
        pattern=r"^[^\x00]*$",  # as in a text: see docs/decisions/0003-nul.md
        description="Opaque id of the person, kept for later erasure.",
    ),
]


class PredictOptions(_Request):
    top_k: Annotated[
        int | None, Field(ge=1, description="Answer the scores of this many labels, best first.")
    ] = None
    truncate: Annotated[
        bool, Field(description="Cut a text that is longer than the model takes; else it is 413.")
    ] = True
    subject: Subject = None


class PredictQuery(PredictOptions):
    text: Annotated[str, Field(description="The text to classify.", examples=["I love AI!"])]


# The first wrong one is enough: a million of them would be a gigabyte of error messages.
Texts = Annotated[list[str], Field(fail_fast=True)]


class PredictRequest(PredictOptions):
    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["text"]}, {"required": ["texts"]}]}
    )
    text: Annotated[str | None, Field(description="One text.", examples=["I love AI!"])] = None
    texts: Annotated[Texts | None, Field(description="Several texts.")] = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.text is None) == (self.texts is None):
            raise ValueError('send either "text" or "texts"')
        return self


def _moment(text: str) -> str:
    if text[4:5] != "-":  # a number of seconds is not documented, and easily mistaken
        raise ValueError("write a time as 2026-01-31T12:00:00Z")
    # A plus sign that was not encoded arrives as a blank, and a time's offset has one.
    return text.replace(" ", "+")


Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]


Number = Annotated[float, Field(allow_inf_nan=False)]


class PredictionFilters(_Request):
    label: Annotated[str | None, Field(description="Only rows with this prediction.")] = None
    model: Annotated[str | None, Field(description="Only rows of this model, by its id.")] = None
    since: Annotated[Moment | None, Field(description="Not before this time.")] = None
    until: Annotated[Moment | None, Field(description="Before this time.")] = None
    min_score: Annotated[Number | None, Field(description="The score, at least.")] = None
    max_score: Annotated[Number | None, Field(description="The score, at most.")] = None
    text: Annotated[
        str | None,
        Field(
            max_length=1000,
            description='Only texts with these words; `or`, `-word` and `"a phrase"` work as in a '
            "search box. Where the log keeps digests: only this very text.",
        ),
    ] = None


class PredictionsQuery(PredictionFilters):
    limit: Annotated[
        int | None,
        Field(
            ge=1,
            description="JSON: rows a page, 50 unless said, 500 at most. CSV and JSON Lines: rows "
            "in all, no bound unless said.",
        ),
    ] = None
    cursor: Annotated[str | None, Field(description="`next` of the page before.")] = None


class StatsQuery(_Request):
    hours: Annotated[int, Field(ge=1, le=24 * 90, description="How far back.")] = 24
    buckets: Annotated[int, Field(ge=1, le=500, description="Equal parts of that time.")] = 24
    reference_hours: Annotated[
        int, Field(ge=0, le=24 * 90, description="How much time before is compared with it.")
    ] = 24 * 7


class FeedbackRequest(_Request):
    label: Annotated[
        str,
        Field(
            min_length=1,
            max_length=256,
            pattern=NO_NUL,
            description="The right one, of those that the model knows.",
            examples=["NEGATIVE"],
        ),
    ]
    comment: Annotated[
        str | None, Field(max_length=4096, pattern=NO_NUL, description="In words.")
    ] = None


class LabelScore(BaseModel):
    label: str
    score: float


class Answer(BaseModel):
    """One classified text. `id` and `created_at` are null where nothing is recorded."""

    model_config = ConfigDict(extra="forbid")
    text: str
    prediction: str
    score: float
    id: UUID | None
    created_at: datetime | None
    model: str
    truncated: bool
    scores: list[LabelScore] | None = None


class Answers(BaseModel):
    predictions: list[Answer]


class Feedback(BaseModel):
    """What somebody said that the label should have been."""

    label: str
    comment: str | None
    given_at: datetime


class LoggedPrediction(BaseModel):
    """A row of the log; rows that others inserted may have nulls."""

    model_config = ConfigDict(extra="forbid")
    id: UUID
    created_at: datetime
    text: str
    prediction: str | None
    score: float | None
    scores: dict[str, float] | None
    model: str | None
    revision: str | None
    precision: str | None
    engine: str | None
    tokens: int | None
    truncated: bool | None
    queue_seconds: float | None
    inference_seconds: float | None
    request_id: str | None
    subject: str | None
    feedback: Feedback | None


class PredictionsPage(BaseModel):
    """Rows, newest first. There may be fewer than asked for, even none, before the end, which is
    where `next` is null."""

    predictions: list[LoggedPrediction]
    next: str | None


class StatsBucket(BaseModel):
    start: datetime
    counts: dict[str, int]
    mean_scores: dict[str, float]


class CalibrationBin(BaseModel):
    """Predictions with feedback whose score is in one tenth of the scale; nulls where there are
    none."""

    from_: Annotated[float, Field(alias="from")]
    to: float
    count: int
    mean_score: float | None
    accuracy: float | None


class FeedbackStats(BaseModel):
    """How right the predictions of the window were; nulls where there is no feedback."""

    count: int
    accuracy: float | None
    calibration_error: float | None
    bins: list[CalibrationBin]


class ReferenceWindow(BaseModel):
    since: datetime
    until: datetime
    count: int


class LabelShare(BaseModel):
    label: str
    share: float
    reference_share: float


class ScoreShare(BaseModel):
    from_: Annotated[float, Field(alias="from")]
    to: float
    share: float
    reference_share: float


class Drift(BaseModel):
    """The window beside the time before it. A population stability index is null where one of
    them has no rows."""

    reference: ReferenceWindow
    count: int
    label_psi: float | None
    score_psi: float | None
    labels: list[LabelShare]
    scores: list[ScoreShare]


class Stats(BaseModel):
    since: datetime
    until: datetime
    bucket_seconds: float
    buckets: list[StatsBucket]
    totals: dict[str, int]
    mean_scores: dict[str, float]
    feedback: FeedbackStats
    drift: Drift


class ModelHealth(BaseModel):
    id: str
    revision: str
    precision: str
    engine: str
    labels: list[str]
    max_tokens: int


class SpoolHealth(BaseModel):
    """Rows that wait on disk for PostgreSQL."""

    rows: int
    bytes: int
    max_bytes: int
    oldest: datetime | None
    writable: bool
    damaged_records: int


class RecordHealth(BaseModel):
    mode: Literal["postgresql", "embedded", "off"]
    available: bool
    spool: SpoolHealth | None


class Health(BaseModel):
    status: Literal["healthy"]
    ready: bool
    version: str
    model: ModelHealth | None
    record: RecordHealth


class ErrorBody(BaseModel):
    error: str
    error_type: str


def filters_of(query: PredictionFilters, keeper: TextKeeper) -> Filters:
    """A query's filters; in digests there are no words to look for."""
    given = query.model_dump(include=set(PredictionFilters.model_fields))
    if keeper.mode == "hash" and query.text is not None:
        given |= {"text": None, "kept": keeper.kept(query.text)}
    return Filters(**given)


def parse_json(model: type[Model], body: bytes) -> Model:
    """Read a JSON body.

    Raises:
        RequestError: what is wrong with it, in a sentence that does not repeat its content.
    """
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise _explained(error) from None


def parse_json_with(
    field: str, other: type[Other], usual: type[Model], body: bytes
) -> Model | Other:
    """Read a JSON body of the usual form, or of another if it has a field that the usual one lacks.

    The usual form is tried first, so it costs no more than it does alone.

    Raises:
        RequestError: what is wrong with it, as the form that it has.
    """
    try:
        return usual.model_validate_json(body, strict=True)
    except ValidationError as error:
        if not any(each["loc"] == (field,) for each in _errors(error)):
            raise _explained(error) from None
    return parse_json(other, body)


def parse_strings(model: type[Model], values: dict[str, str]) -> Model:
    """Read a query string's parameters.

    Raises:
        RequestError: what is wrong with them.
    """
    try:
        return model.model_validate_strings(values)
    except ValidationError as error:
        raise _explained(error) from None


def _errors(error: ValidationError) -> list[ErrorDetails]:
    """What is wrong; empty if that is too much."""
    if error.error_count() > MOST_ERRORS_READ:
        return []
    return error.errors(include_url=False, include_input=False, include_context=False)


def _explained(error: ValidationError) -> RequestError:
    errors = _errors(error)
    if not errors:
        return RequestError("The body has many fields that do not belong there: see /docs.")
    first = errors[0]
    name = ".".join(map(str, first["loc"]))
    match first["type"]:
        case "json_invalid":
            return RequestError(
                f"The body is not JSON: {first['msg'].removeprefix('Invalid JSON: ')}."
            )
        case "extra_forbidden":
            return RequestError(f"There is no field {name[:64]!r}: see /docs for those there are.")
        case "missing":
            example = ", for instance text=I%20love%20AI!" if name == "text" else ""
            return InputError(f"{name} is missing: send it{example}.")
        case "model_type" | "model_attributes_type":
            return RequestError("The body is not a JSON object.")
        case _:
            message = first["msg"].removeprefix("Value error, ")
            return RequestError(f"{name}: {message}." if name else f"The body: {message}.")


def answer(text: str, row: PredictionRow, top_k: int | None, *, recorded: bool) -> dict[str, Any]:
    """An `Answer` as plain data, ready for JSON: building the model would only check our own.

    Args:
        text: as it was sent; the row may keep less of it.
        row: of the text.
        top_k: how many labels' scores to add.
        recorded: whether the row is in the log.
    """
    fields: dict[str, Any] = {
        "text": text,
        "prediction": row.prediction,
        "score": row.score,
        "id": row.id if recorded else None,
        "created_at": iso(row.created_at) if recorded else None,
        "model": row.model,
        "truncated": row.truncated,
    }
    if top_k is not None:
        best = sorted(row.scores.items(), key=lambda pair: -pair[1])[:top_k]
        fields["scores"] = [{"label": label, "score": score} for label, score in best]
    return fields
