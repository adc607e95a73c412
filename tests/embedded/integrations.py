"""What the tasks of a state machine call. Requests are held to botocore's models of AWS' APIs."""

import functools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import botocore.session
from botocore.exceptions import ClientError
from botocore.model import ListShape, ServiceModel, Shape, StructureShape
from botocore.validate import ParamValidator

from embedded.asl import StatesError, UnsupportedError
from embedded.asl_document import only


class AbortedError(Exception):
    """The execution was stopped."""


@dataclass(frozen=True)
class Patience:
    """How long a task may take: until its execution is stopped, or its time is up."""

    stopped: threading.Event
    deadline: float | None = None

    def wait(self, ended: threading.Event) -> None:
        """Return when something has ended. Raises AbortedError and StatesError."""
        while not ended.wait(0.02):
            if self.stopped.is_set():
                raise AbortedError
            if self.deadline is not None and time.monotonic() > self.deadline:
                raise StatesError("States.Timeout", "the state's TimeoutSeconds are over")


# Runs a task with its parameters to the end and returns its result. Raises AbortedError and StatesError.
Integration = Callable[[dict[str, Any], Patience], Any]


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


def sdk(service: str, operation: str, call: Callable[..., Any]) -> Integration:
    """Return an integration with an API of AWS (`aws-sdk`) of which only the request matters."""

    def run(parameters: dict[str, Any], _: Patience) -> dict[str, Any]:
        asked = request(service, operation, parameters)
        try:
            call(**asked)
        except ClientError as error:
            raise StatesError(f"{service.capitalize()}.{error.response['Error']['Code']}", str(error)) from error
        return {}

    return run
