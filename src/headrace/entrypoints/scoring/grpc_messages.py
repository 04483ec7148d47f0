"""The messages of the Open Inference Protocol's gRPC service, described field by field.

Source: kserve/open-inference-protocol, ``open_inference_grpc.proto``. They live in a pool of their own, so that a
client library's generated classes of the same names may be loaded beside them.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
_SCALARS = {
    "bool": 8,
    "int32": 5,
    "int64": 3,
    "uint32": 13,
    "uint64": 4,
    "float": 2,
    "double": 1,
    "bytes": 12,
    "string": 9,
}
_REPEATED, _OPTIONAL, _MESSAGE = 3, 1, 11
_TENSOR = "name string, datatype string, shape int64*, parameters Parameter%, contents InferTensorContents"
_MESSAGES = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "live bool",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "ready bool",
    "ModelReadyRequest": "name string, version string",
    "ModelReadyResponse": "ready bool",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "name string, version string, extensions string*",
    "ModelMetadataRequest": "name string, version string",
    "TensorMetadata": "name string, datatype string, shape int64*",
    "ModelMetadataResponse": "name string, versions string*, platform string, "
    "inputs TensorMetadata*, outputs TensorMetadata*",
    "InferParameter": "bool_param bool, int64_param int64, string_param string, "
    "double_param double, uint64_param uint64",
    "InferTensorContents": "bool_contents bool*, int_contents int32*, int64_contents int64*, uint_contents uint32*, "
    "uint64_contents uint64*, fp32_contents float*, fp64_contents double*, bytes_contents bytes*",
    "Parameter": "key string, value InferParameter",
    "InferInputTensor": _TENSOR,
    "InferRequestedOutputTensor": "name string, parameters Parameter%",
    "ModelInferRequest": "model_name string, model_version string, id string, parameters Parameter%, "
    "inputs InferInputTensor*, outputs InferRequestedOutputTensor*, raw_input_contents bytes*",
    "InferOutputTensor": _TENSOR,
    "ModelInferResponse": "model_name string, model_version string, id string, parameters Parameter%, "
    "outputs InferOutputTensor*, raw_output_contents bytes*",
}
"""Fields in the order of their numbers; ``*`` is repeated, ``%`` a map, which on the wire is a repeated pair."""


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="headrace/inference.proto", package=PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field in enumerate(filter(None, fields.split(", ")), start=1):
            named, kind = field.split(" ")
            plain = kind.rstrip("*%")
            added = message.field.add(name=named, number=number, label=_REPEATED if kind != plain else _OPTIONAL)
            if plain in _SCALARS:
                added.type = _SCALARS[plain]
            else:
                added.type, added.type_name = _MESSAGE, f".{PACKAGE}.{plain}"
            if name == "InferParameter":
                added.oneof_index = 0
        if name == "InferParameter":
            message.oneof_decl.add(name="parameter_choice")
    return file


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_file())  # type: ignore[attr-defined]


def message(name: str) -> Any:
    """The class of a message."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))
