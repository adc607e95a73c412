"""Documents in the Amazon States Language: refuses whatever embedded/step_functions.py does not know."""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

from embedded.asl import FUNCTIONS, UnsupportedError

PAYLOAD = {"Type", "Comment", "InputPath", "OutputPath"}
RESULT = {"Parameters", "ResultPath", "Next", "End"}
HANDLED = {"ResultSelector", "Retry", "Catch"}
FIELDS = {
    "Choice": PAYLOAD | {"Choices", "Default"},
    "Fail": {"Type", "Comment", "Error", "Cause", "ErrorPath", "CausePath"},
    "Map": PAYLOAD | (RESULT - {"Parameters"}) | HANDLED
    | {"ItemProcessor", "ItemReader", "ItemSelector", "Label", "MaxConcurrency"}
    | {"ToleratedFailureCount", "ToleratedFailurePercentage"},
    "Pass": PAYLOAD | RESULT | {"Result"},
    "Succeed": PAYLOAD,
    "Task": PAYLOAD | RESULT | HANDLED | {"Resource", "TimeoutSeconds"},
}  # fmt: skip
RETRIER = {"BackoffRate", "Comment", "ErrorEquals", "IntervalSeconds", "MaxAttempts"}
RETRIER |= {"JitterStrategy", "MaxDelaySeconds"}
CATCHER = {"ErrorEquals", "Next", "ResultPath", "Comment"}
MACHINE = {"Comment", "StartAt", "States", "TimeoutSeconds", "QueryLanguage"}
PROCESSOR = {"ProcessorConfig", "StartAt", "States", "Comment"}


def check(document: dict[str, Any], fields: set[str], resources: Collection[str]) -> None:
    """Raise UnsupportedError for whatever is not known here, in the states of a Map too."""
    only(document, fields, "the document")
    if document.get("QueryLanguage", "JSONPath") != "JSONPath":
        raise UnsupportedError("QueryLanguage")
    if unknown := set(re.findall(r"States\.\w+(?=\()", json.dumps(document))) - FUNCTIONS.keys():
        raise UnsupportedError(", ".join(sorted(unknown)))
    names = {document["StartAt"]}
    for name, state in document["States"].items():
        only(state, FIELDS.get(state["Type"], set()), name)
        names |= set(following(state))
        for retrier in state.get("Retry", []):
            only(retrier, RETRIER, f"{name}: Retry")
        for catcher in state.get("Catch", []):
            only(catcher, CATCHER, f"{name}: Catch")
        if state["Type"] == "Task" and state["Resource"] not in resources:
            raise UnsupportedError(f"{name}: {state['Resource']}")
        if "Catch" in state and "OutputPath" in state:
            raise UnsupportedError(f"{name}: the specification does not say what OutputPath does to a caught error")
        if state["Type"] == "Map":
            check_map(name, state, resources)
    if names != document["States"].keys():
        raise UnsupportedError(f"states that are missing or never reached: {names ^ document['States'].keys()}")


def check_map(name: str, state: dict[str, Any], resources: Collection[str]) -> None:
    processor, reader = state["ItemProcessor"], state["ItemReader"]
    only(reader, {"Resource", "ReaderConfig", "Parameters"}, f"{name}: ItemReader")
    known = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "arn:aws:states:::s3:getObject", {"InputType": "JSON"}
    if (processor["ProcessorConfig"], reader["Resource"], reader["ReaderConfig"]) != known:
        raise UnsupportedError(f"{name}: only a DISTRIBUTED Map over a JSON array in S3 is known")
    check(processor, PROCESSOR, resources)


def following(state: dict[str, Any]) -> Iterator[str]:
    """Yield the names of the states that may follow."""
    for place in (state, *state.get("Choices", []), *state.get("Catch", [])):
        yield from (place[name] for name in ("Next", "Default") if name in place)


def only(given: dict[str, Any], fields: set[str], where: str) -> None:
    if unknown := given.keys() - fields:
        raise UnsupportedError(f"{where}: {', '.join(sorted(unknown))}")
