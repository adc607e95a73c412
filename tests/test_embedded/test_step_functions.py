"""The embedded Step Functions does what the Amazon States Language says, and refuses what it does not know."""

import json
from typing import Any

import pytest

from embedded.asl import Scope, StatesError, UnsupportedError
from embedded.executions import Execution
from embedded.integrations import Patience, request
from embedded.step_functions import StateMachine

ARN = "arn:aws:states:eu-central-1:123456789012:stateMachine:m"
TASK = "arn:aws:states:::ecs:runTask.sync"
READER = {
    "Resource": "arn:aws:states:::s3:getObject",
    "ReaderConfig": {"InputType": "JSON"},
    "Parameters": {"Bucket": "b", "Key": "k"},
}
DISTRIBUTED = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
A_TASK: dict[str, Any] = {"Type": "Task", "Resource": TASK, "End": True}


def echo(parameters: dict[str, Any], _: Patience) -> Any:
    """Return what it was given; fail where that says so."""
    if "fail" in parameters:
        raise StatesError(*parameters["fail"])
    return parameters


def new_machine(items: Any = (), **states: Any) -> StateMachine:
    """Return a machine that starts with the first of these states."""
    document = json.dumps({"StartAt": next(iter(states)), "States": states})
    return StateMachine(ARN, document, {TASK: echo}, lambda *_: json.dumps(items).encode(), wait_second=0.0001)


def run(given: Any, **states: Any) -> Execution:
    return new_machine(**states).run(given)


def map_over(items: list[Any], **fields: Any) -> Execution:
    """Run a Map over items that are given to a task each, and catch what may be caught."""
    processor = {"ProcessorConfig": DISTRIBUTED, "StartAt": "Each", "States": {"Each": A_TASK}}
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
    mapped = {"Type": "Map", "ItemReader": READER, "ItemProcessor": processor, "Catch": catch, "End": True}
    return new_machine(items, Map=mapped | fields, Caught={"Type": "Pass", "End": True}).run()


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("$.a[0].b", 1),
        ("$.a[*].b", [1, 2]),
        ("$.a[-1:].b", [2]),
        ("$$.Execution.Name", "n"),
        ("States.Format('{} of {}, \\'quoted\\' \\{\\}', $.text, $.a[1].b)", "T10:20 of 2, 'quoted' {}"),
        ("States.ArrayGetItem(States.StringSplit($.text, 'T:'), 1)", "20"),
        ("States.MathAdd(States.ArrayLength($.a), -1)", 1),
    ],
)
def test_paths_and_functions_have_their_values(expression: str, value: Any) -> None:
    scope = Scope({"a": [{"b": 1}, {"b": 2}], "text": "T10:20"}, {"Execution": {"Name": "n"}})
    assert scope.evaluate(expression) == value
    assert scope.fill({"x.$": expression, "y": [{"z": "$.a"}]}) == {"x": value, "y": [{"z": "$.a"}]}


@pytest.mark.parametrize("expression", ["States.UUID()", "States.Format('x') x", "a text"])
def test_expressions_that_are_not_known_are_refused(expression: str) -> None:
    with pytest.raises(UnsupportedError):
        Scope({}, {}).evaluate(expression)


def test_a_path_that_leads_nowhere_ends_the_execution_uncaught() -> None:
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
    task = A_TASK | {"Parameters": {"x.$": "$.nowhere"}, "Catch": catch}
    execution = run({}, Task=task, Caught={"Type": "Pass", "End": True})
    assert (execution.status, execution.error) == ("FAILED", "States.Runtime")


def test_each_retrier_counts_its_own_errors_and_then_the_catch_comes() -> None:
    """The example of the specification: A, B, C, B; the first retrier takes two errors."""
    retry = [{"ErrorEquals": ["A", "B"], "MaxAttempts": 2}, {"ErrorEquals": ["C"], "IntervalSeconds": 5}]
    catch = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Caught"}]
    machine = new_machine(Task=A_TASK | {"Retry": retry, "Catch": catch}, Caught={"Type": "Pass", "End": True})
    machine.faults["Task"] = [StatesError(name, "why") for name in ("A", "B", "C", "B")]
    execution = machine.run({"kept": 1})
    assert execution.tries("Task") == 4
    assert execution.output == {"kept": 1, "error": {"Error": "B", "Cause": "why"}}


@pytest.mark.parametrize(
    ("name", "wildcard", "tries"),
    [
        ("Mine", "States.TaskFailed", 2),
        ("ECS.ServerException", "States.TaskFailed", 2),
        ("States.Timeout", "States.TaskFailed", 1),
        ("States.Timeout", "States.ALL", 2),
        ("States.Runtime", "States.ALL", 1),
        ("States.DataLimitExceeded", "States.ALL", 1),
        ("ECS.ServerException", "ECS.*", 1),
    ],
)
def test_wildcards_match_what_the_developer_guide_says(name: str, wildcard: str, tries: int) -> None:
    retry = [{"ErrorEquals": [wildcard], "MaxAttempts": 1}]
    execution = run({"fail": [name, "why"]}, Task=A_TASK | {"Retry": retry})
    assert (execution.status, execution.error, execution.tries("Task")) == ("FAILED", name, tries)


def test_data_goes_through_the_fields_of_a_state_in_their_order() -> None:
    state = A_TASK | {"InputPath": "$.in", "Parameters": {"y.$": "$.x"}, "ResultSelector": {"z.$": "$.y"}}
    execution = run({"in": {"x": 1}}, Task=state | {"ResultPath": "$.result", "OutputPath": "$.result.z"})
    assert execution.output == 1
    assert run({"x": 1}, Task=A_TASK | {"Parameters": {}, "ResultPath": None}).output == {"x": 1}
    assert run({"x": 1}, Task=A_TASK | {"OutputPath": None}).output == {}


def test_a_result_of_more_than_256_kib_ends_the_execution() -> None:
    assert run({"x": "x" * 255 * 1024}, Task=A_TASK).status == "SUCCEEDED"
    execution = run({"x": "x" * 200 * 1024}, Task=A_TASK | {"Parameters": {"x.$": "$.x", "y.$": "$.x"}})
    assert execution.error == "States.DataLimitExceeded"


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ({"Variable": "$.n", "NumericGreaterThan": 0}, True),
        ({"Variable": "$.n", "NumericGreaterThan": 1}, False),
        ({"Variable": "$.s", "NumericGreaterThan": 0}, False),
        ({"Variable": "$.s", "StringEqualsPath": "$.s"}, True),
        ({"Variable": "$.none", "IsPresent": False}, True),
        ({"Not": {"Variable": "$.n", "IsPresent": True}}, False),
        ({"And": [{"Variable": "$.n", "NumericEquals": 1}, {"Variable": "$.s", "StringEquals": "t"}]}, False),
        ({"Or": [{"Variable": "$.n", "NumericEquals": 1}, {"Variable": "$.s", "StringEquals": "t"}]}, True),
    ],
)
def test_choices_go_where_the_first_rule_says_that_holds(rule: dict[str, Any], holds: bool) -> None:
    choice = {"Type": "Choice", "Choices": [rule | {"Next": "Yes"}], "Default": "No"}
    execution = run({"n": 1, "s": "s"}, Choice=choice, Yes={"Type": "Succeed"}, No={"Type": "Fail", "Error": "No"})
    assert execution.states() == ["Choice", "Yes" if holds else "No"]


def test_a_map_returns_what_its_items_returned_and_describes_those_that_failed() -> None:
    execution = map_over([{"x": 1}, {"fail": ["Mine", "why"]}, {"x": 3}], ToleratedFailureCount=1)
    assert execution.status == "SUCCEEDED"
    first, second, third = execution.output
    assert (first, third) == ({"x": 1}, {"x": 3})
    assert (second["Error"], second["Cause"], json.loads(second["Input"])) == ("Mine", "why", {"fail": ["Mine", "why"]})
    assert second["ExecutionArn"].startswith("arn:aws:states:eu-central-1:123456789012:execution:m/Map:")


@pytest.mark.parametrize(
    ("tolerated", "states"),
    [
        ({}, ["Map", "Caught"]),
        ({"ToleratedFailureCount": 1}, ["Map", "Caught"]),
        ({"ToleratedFailureCount": 2}, ["Map"]),
        ({"ToleratedFailurePercentage": 49}, ["Map", "Caught"]),
        ({"ToleratedFailurePercentage": 50}, ["Map"]),
        ({"ToleratedFailurePercentage": 100, "ToleratedFailureCount": 1}, ["Map", "Caught"]),
    ],
)
def test_a_map_fails_when_more_items_failed_than_it_tolerates(tolerated: dict[str, int], states: list[str]) -> None:
    execution = map_over([{"fail": ["Mine", ""]}, {}, {"fail": ["Mine", ""]}, {}], **tolerated)
    assert execution.states() == states
    assert set(execution.errors("Map")) <= {"States.ExceedToleratedFailureThreshold"}


@pytest.mark.parametrize(
    "states",
    [
        {"Task": A_TASK | {"HeartbeatSeconds": 3}},
        {"Task": A_TASK | {"Resource": "arn:aws:states:::lambda:invoke"}},
        {"Task": A_TASK | {"Next": "Nowhere"}},
        {"Task": A_TASK, "Alone": {"Type": "Succeed"}},
        {"Task": A_TASK | {"Retry": [{"ErrorEquals": ["A"], "MaxAttempt": 1}]}},
        {"Wait": {"Type": "Wait", "Seconds": 1, "End": True}},
        {"Map": {"Type": "Map", "ItemReader": READER, "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}}}},
    ],
)
def test_documents_with_something_that_is_not_known_are_refused(states: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError):
        new_machine(**states)


def test_requests_are_held_to_the_model_of_the_api() -> None:
    asked = request("ecs", "RunTask", {"TaskDefinition": "t", "VolumeConfigurations": [{"Name": "scratch"}]})
    assert asked == {"taskDefinition": "t", "volumeConfigurations": [{"name": "scratch"}]}
    for wrong in ({"TaskDefinitions": "t"}, {"taskDefinition": "t"}, {"TaskDefinition": 1}, {}):
        with pytest.raises(UnsupportedError):
            request("ecs", "RunTask", wrong)
