"""Requests to AWS as a state machine writes them, held to botocore's models of the APIs."""

import functools
from typing import Any

import botocore.session
from botocore.model import ListShape, ServiceModel, Shape, StructureShape
from botocore.validate import ParamValidator

from embedded.asl import UnsupportedError


@functools.cache
def _model(service: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(service)


def request(service: str, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return a request as the API takes it, held to botocore's model of the API.

    In a state machine every parameter begins with a capital letter (Developer Guide "Integrating services").
    """
    shape = _model(service).operation_model(operation).input_shape
    assert shape
    asked = recased(parameters, shape, operation)
    report = ParamValidator().validate(asked, shape)
    if report.has_errors():
        raise UnsupportedError(f"{operation}: {report.generate_report()}")
    return dict(asked)


def recased(given: Any, shape: Shape, where: str) -> Any:
    """Return a request with the names of the API's own members."""
    if isinstance(shape, ListShape) and isinstance(given, list):
        return [recased(item, shape.member, where) for item in given]
    if not isinstance(shape, StructureShape) or not isinstance(given, dict):
        return given
    members = {name[0].upper() + name[1:]: name for name in shape.members}
    only(given, set(members), where)
    return {
        members[name]: recased(value, shape.members[members[name]], f"{where}.{name}") for name, value in given.items()
    }


def only(given: dict[str, Any], fields: set[str], where: str) -> None:
    if unknown := given.keys() - fields:
        raise UnsupportedError(f"{where}: {', '.join(sorted(unknown))}")
