"""What the Open Inference Protocol V2 sends over the wire."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ..errors import RequestError
from ..schemas import Subject, Texts

# Parameters of Triton's that would change the meaning of a tensor; others are not looked at.
UNSUPPORTED = {"shared_memory_region", "classification"}


# Some clients send null for what they leave out.
NullAsEmpty = BeforeValidator(lambda value: {} if value is None else value)


class _Lenient(BaseModel):
    """The protocol lets everybody add fields and parameters."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class TensorParameters(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    def check(self) -> None:
        """Refuse what would be misunderstood.

        Raises:
            RequestError: a parameter that is not supported.
        """
        if unsupported := UNSUPPORTED.intersection(self.model_extra or ()):
            raise RequestError(
                f"The parameter {unsupported.pop()} is not supported: send texts, ask for scores."
            )


class InputParameters(TensorParameters):
    binary_data_size: Annotated[
        int | None, Field(ge=0, description="Bytes of this tensor after the JSON.")
    ] = None


class OutputParameters(TensorParameters):
    binary_data: Annotated[
        bool | None, Field(description="Answer this tensor as bytes after the JSON.")
    ] = None


class InferParameters(_Lenient):
    binary_data_output: Annotated[
        bool, Field(description="Answer every tensor as bytes after the JSON.")
    ] = False
    truncate: Annotated[
        bool, Field(description="Cut a text that is longer than the model takes; else it is 413.")
    ] = True
    subject: Subject = None


class InferInput(_Lenient):
    name: Annotated[str, Field(examples=["text"])]
    datatype: Annotated[str, Field(examples=["BYTES"])]
    shape: Annotated[
        list[Annotated[int, Field(ge=0, lt=2**63)]],
        Field(description="[n] or [n, 1].", examples=[[1]], max_length=8, fail_fast=True),
    ]
    parameters: Annotated[InputParameters, NullAsEmpty] = InputParameters()
    data: Annotated[list[str | Texts] | None, Field(fail_fast=True, examples=[["I love AI!"]])] = (
        None
    )


class InferOutput(_Lenient):
    name: str
    parameters: Annotated[OutputParameters, NullAsEmpty] = OutputParameters()


class InferRequest(_Lenient):
    id: str | None = None
    parameters: Annotated[InferParameters, NullAsEmpty] = InferParameters()
    inputs: Annotated[list[InferInput], Field(max_length=8, fail_fast=True)]
    outputs: Annotated[
        list[InferOutput] | None,
        Field(max_length=16, fail_fast=True, description="All of the model's by default."),
    ] = None


class MetadataTensor(BaseModel):
    name: str
    datatype: str
    shape: list[int]


class ServerMetadata(BaseModel):
    name: str
    version: str
    extensions: list[str]


class ModelMetadata(BaseModel):
    """`properties.labels` are those of `scores`, in order, as a JSON list."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[MetadataTensor]
    outputs: list[MetadataTensor]
    properties: dict[str, str]


class InferAnswer(BaseModel):
    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[dict[str, Any]]
