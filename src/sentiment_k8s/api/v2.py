"""The Open Inference Protocol V2, as the clients of KServe, Triton and MLServer speak it.

A version is the model's revision. Inputs and outputs are those of v2_infer.py.
"""

import json
import re
from typing import Any

from fastapi import APIRouter
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response

from .. import __version__
from ..errors import NotFound, NotReady
from ..model import ModelInfo
from ..schemas import parse_json
from ..service import Service
from .call import Call
from .classifier import Classifier, with_key
from .http import (
    LeanRoute,
    cancelled_when_client_hangs_up,
    documented_body,
    documented_errors,
    documented_path,
    json_response,
)
from .tensors import split
from .v2_infer import HEADER_LENGTH, OUTPUTS, infer_response, outputs_of, texts_of, wanted_of
from .v2_schemas import InferAnswer, InferRequest, ModelMetadata, ServerMetadata

MODEL = "/models/{name:model}"
BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
BYTES_TOO: dict[int | str, dict[str, Any]] = {200: {"content": BYTES}}


class ModelName(StringConvertor):
    """A model's name in a path: a hub id has a slash. What follows it is no part of a name, so
    that a wrong method there is a wrong method and no unknown model."""

    regex = "(?:(?!/(?:infer|ready)$).)+"


def router(classifier: Classifier, service: Service) -> APIRouter:
    """The routes of the protocol."""
    register_url_convertor("model", ModelName())
    routes = APIRouter(prefix="/v2", route_class=LeanRoute, tags=["open inference protocol"])

    @routes.get("", summary="The server", response_model=ServerMetadata)
    async def server(_: Request) -> Response:
        return json_response(
            {
                "name": "sentiment-k8s",
                "version": __version__,
                "extensions": ["binary_tensor_data"],
            }
        )

    @routes.get("/health/live", summary="Whether the process can answer")
    async def live(_: Request) -> Response:
        return json_response({"live": True})

    @routes.get(
        "/health/ready", summary="Whether to send requests here", responses=documented_errors(503)
    )
    async def ready(_: Request) -> Response:
        check_ready(service)
        return json_response({"ready": True})

    async def model_ready(request: Request) -> Response:
        info = model_of(request, service)
        check_ready(service)
        return json_response({"name": info.id, "ready": True})

    async def metadata(request: Request) -> Response:
        return json_response(described(model_of(request, service)))

    async def infer(request: Request) -> Response:
        info = model_of(request, service)
        encoding = request.headers.get("content-encoding", "identity")
        async with classifier.bodies.reading(request) as content:
            with classifier.bodies.decompressed(content, encoding) as body:
                head, data = split(body, request.headers.get(HEADER_LENGTH))
                asked = parse_json(InferRequest, head)
                texts = texts_of(asked.inputs, data)
                wanted = wanted_of(asked)
                with cancelled_when_client_hangs_up(request):
                    rows = await classifier.classify(
                        Call.of(request, content),
                        texts,
                        truncate=asked.parameters.truncate,
                        subject=asked.parameters.subject,
                    )
                shape = asked.inputs[0].shape
                outputs = outputs_of(rows, info.labels, shape, recorded=classifier.recorded)
                return infer_response(asked, info, outputs, wanted)

    body = documented_body(InferRequest)
    body["requestBody"]["content"] |= BYTES
    for path in (MODEL + "/versions/{version}", MODEL):
        parameters = documented_path(*re.findall(r"{(\w+)", path))
        routes.get(
            path + "/ready",
            summary="Whether the model can be used",
            responses=documented_errors(404, 503),
            openapi_extra=parameters,
        )(model_ready)
        routes.post(
            path + "/infer",
            summary="Classify a tensor of texts",
            response_model=InferAnswer,
            responses=BYTES_TOO | documented_errors(400, 404, 408, 413, 422, 429, 500, 503, 504),
            openapi_extra=with_key(parameters | body),
        )(infer)
        routes.get(
            path,
            summary="The model's inputs and outputs",
            response_model=ModelMetadata,
            responses=documented_errors(404, 503),
            openapi_extra=parameters,
        )(metadata)
    return routes


def check_ready(service: Service) -> None:
    """Refuse while the server is starting or stopping.

    Raises:
        NotReady: it is.
    """
    if not service.ready:
        raise NotReady("The server is starting or stopping.", retry_after=1)


def model_of(request: Request, service: Service) -> ModelInfo:
    """The model that the path names.

    Raises:
        NotFound: another one, or another version, is served.
        NotReady: none is yet.
    """
    info = service.pipeline.model.info
    if request.path_params["name"] != info.id:
        raise NotFound(f"There is no model of that name here: {info.id} is served.")
    if request.path_params.get("version", info.revision) != info.revision:
        raise NotFound(f"This version is not served: leave it out, or send {info.revision}.")
    return info


def described(info: ModelInfo) -> dict[str, Any]:
    """The model's metadata; -1 stands for the number of texts."""
    shapes = {"scores": [-1, len(info.labels)]}
    return {
        "name": info.id,
        "versions": [info.revision],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": name, "datatype": datatype, "shape": shapes.get(name, [-1])}
            for name, datatype in OUTPUTS.items()
        ],
        "properties": {"labels": json.dumps(info.labels, ensure_ascii=False)},
    }
