"""A request of the Open Inference Protocol to texts, and rows to its answer."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response

from ..errors import RequestError
from ..model import ModelInfo
from ..records import PredictionRow
from .tensors import Datatype, Tensor, check_count, pack, unpack_texts
from .v2_schemas import InferInput, InferRequest

HEADER_LENGTH = "Inference-Header-Content-Length"
OUTPUTS: dict[str, Datatype] = {
    "label": "BYTES",
    "score": "FP32",
    "scores": "FP32",
    "id": "BYTES",
    "truncated": "BOOL",
}


def texts_of(inputs: Sequence[InferInput], data: bytes) -> list[str]:
    """The elements of the one input.

    Args:
        inputs: as they were sent.
        data: what came after the JSON.

    Raises:
        InputError: an element is no valid text.
        RequestError: they are not as the model's metadata says, or disagree with the data.
    """
    if [tensor.name for tensor in inputs] != ["text"]:
        raise RequestError('The model has one input, "text": send that alone.')
    [tensor] = inputs
    tensor.parameters.check()
    if tensor.datatype != "BYTES" or tensor.shape[1:] not in ([], [1]) or not tensor.shape:
        raise RequestError('The input "text" is of datatype BYTES and of shape [n] or [n, 1].')
    [count, *_] = tensor.shape
    size = tensor.parameters.binary_data_size
    if (size is None) == (tensor.data is None):
        raise RequestError('The input "text" needs either data or binary_data_size.')
    if (size or 0) != len(data):
        raise RequestError(
            "binary_data_size must be the length of what follows the JSON, and the header "
            f"{HEADER_LENGTH} that of the JSON, in bytes."
        )
    if tensor.data is None:
        return unpack_texts(data, count)
    texts = [text for item in tensor.data for text in ([item] if isinstance(item, str) else item)]
    check_count(len(texts), count)
    return texts


def wanted_of(asked: InferRequest) -> dict[str, bool]:
    """The names of the outputs to answer, and whether as binary data.

    Raises:
        RequestError: one that there is not, or one twice.
    """
    usual = asked.parameters.binary_data_output
    if not asked.outputs:
        return dict.fromkeys(OUTPUTS, usual)
    wanted: dict[str, bool] = {}
    for output in asked.outputs:
        output.parameters.check()
        if output.name not in OUTPUTS or output.name in wanted:
            raise RequestError(f"Ask for each output once: there are {', '.join(OUTPUTS)}.")
        binary = output.parameters.binary_data
        wanted[output.name] = usual if binary is None else binary
    return wanted


def outputs_of(
    rows: Sequence[PredictionRow], labels: Sequence[str], shape: list[int], *, recorded: bool
) -> dict[str, Tensor]:
    """What can be asked for, by name.

    Args:
        rows: a text each.
        labels: in the order of the scores; a row that was read from the log has another.
        shape: of the input.
        recorded: whether the rows are in the log; otherwise they have no ids.
    """
    columns: dict[str, list[Any]] = {
        "label": [row.prediction for row in rows],
        "score": [row.score for row in rows],
        "scores": [row.scores[label] for row in rows for label in labels],
        "id": [str(row.id) if recorded else "" for row in rows],
        "truncated": [row.truncated for row in rows],
    }
    shapes = {"scores": [len(rows), len(labels)]}
    return {
        name: Tensor(name, OUTPUTS[name], shapes.get(name, shape), column)
        for name, column in columns.items()
    }


def infer_response(
    asked: InferRequest, info: ModelInfo, outputs: Mapping[str, Tensor], wanted: Mapping[str, bool]
) -> Response:
    """The answer: JSON, and after it the data of the outputs that are wanted as bytes.

    Args:
        asked: whose `id` is given back.
        info: the model's.
        outputs: by name.
        wanted: the names to answer, and whether as bytes.
    """
    described, parts = [], []
    for name, binary in wanted.items():
        tensor = outputs[name]
        if binary:
            parts.append(pack(tensor))
            described.append(
                tensor.described() | {"parameters": {"binary_data_size": len(parts[-1])}}
            )
        else:
            described.append(tensor.described() | {"data": tensor.data})
    head = to_json(
        {
            "model_name": info.id,
            "model_version": info.revision,
            **({} if asked.id is None else {"id": asked.id}),
            "outputs": described,
        }
    )
    if not parts:
        return Response(head, media_type="application/json")
    return Response(
        b"".join([head, *parts]),
        media_type="application/octet-stream",
        headers={HEADER_LENGTH: str(len(head))},
    )
