"""Step Functions on this machine: a Standard state machine, from the document that the module renders.

After https://states-language.net/spec.html and the AWS Step Functions Developer Guide, with JSONPath as the query
language. moto's interpreter does not do: its tasks can't be processes, and no exit code of a task fails a state.
What this one does not know it refuses (asl_document.py). Waits and timeouts may be shortened; waits have no jitter.
"""

import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from embedded.asl import Scope, StatesError, holds, insert, limited
from embedded.asl_document import MACHINE, check
from embedded.executions import Execution, timestamp
from embedded.integrations import AbortedError, Integration, Patience, request

# Neither retried nor caught (Developer Guide "Handling errors in Step Functions workflows").
TERMINAL = {"States.DataLimitExceeded", "States.Runtime"}
LIST_EXECUTIONS = "arn:aws:states:::aws-sdk:sfn:listExecutions"


class StateMachine:
    """A state machine with its executions.

    `wait_second` and `timeout_second` are how long a second of its waits before a retry and of its timeouts takes.
    `faults`: errors that befall a task's next tries, by the name of its state. `listed`: what ListExecutions sees,
    which in AWS may be late.
    """

    def __init__(
        self,
        arn: str,
        document: str,
        integrations: Mapping[str, Integration],
        read: Callable[[str, str], bytes],
        wait_second: float = 1.0,
        timeout_second: float = 1.0,
    ) -> None:
        self.arn, self.document, self.read = arn, json.loads(document), read
        self.wait_second, self.timeout_second = wait_second, timeout_second
        self.integrations = {LIST_EXECUTIONS: self._list_executions, **integrations}
        self.executions: list[Execution] = []
        self.listed = self.executions
        self.faults: dict[str, list[StatesError]] = {}
        check(self.document, MACHINE, self.integrations)

    def start(self, given: Any = None, name: str | None = None) -> Execution:
        """Start an execution; by default under a name as EventBridge gives it."""
        name = name or f"{uuid.uuid4()}_{uuid.uuid4()}"
        place = self.arn.replace(":stateMachine:", ":execution:")
        execution = Execution(f"{place}:{name}", name, self.arn, {} if given is None else given)
        self.executions.append(execution)
        if "TimeoutSeconds" in self.document:
            execution.expire_after(self.document["TimeoutSeconds"] * self.timeout_second)
        threading.Thread(target=self._run, args=(execution, self.document), daemon=True).start()
        return execution

    def run(self, given: Any = None, seconds: float = 100) -> Execution:
        """Run an execution to its end."""
        return self.start(given).wait(seconds)

    def _run(self, execution: Execution, document: dict[str, Any]) -> None:
        data, state = execution.input, document["StartAt"]
        try:
            while state is not None:
                data, state = self._state(state, document["States"][state], data, execution)
            execution.status, execution.output = "SUCCEEDED", data
        except AbortedError:
            execution.status = "TIMED_OUT" if execution.expired else "ABORTED"
        except StatesError as error:
            execution.status, execution.error, execution.cause = "FAILED", error.name, error.cause
        except BaseException:
            execution.status = "BROKEN"  # a bug here, or something that is not known
            raise
        finally:
            execution.ended.set()

    # -- states ----------------------------------------------------------------------------------

    def _state(self, name: str, state: dict[str, Any], data: Any, execution: Execution) -> tuple[Any, str | None]:
        """Go through one state; return its output and the next state's name."""
        if execution.stopped.is_set():
            raise AbortedError
        execution.note("entered", name, data)
        scope = Scope(data, execution.context(name, 0))
        if state["Type"] == "Fail":
            raise failure(state, scope)
        output, following = self._handled(name, state, selected(state, "InputPath", scope), execution)
        output = limited(selected(state, "OutputPath", Scope(output, scope.context)), name)
        execution.note("exited", name, output)
        return output, following

    def _handled(self, name: str, state: dict[str, Any], data: Any, execution: Execution) -> tuple[Any, str | None]:
        """Return output and next state: with Retry and Catch."""
        retries: dict[int, int] = {}
        while True:
            scope = Scope(data, execution.context(name, sum(retries.values())))
            try:
                return self._output(name, state, scope, execution)
            except StatesError as error:
                execution.note("failed", name, {"Error": error.name, "Cause": error.cause})
                wait = next_wait(state.get("Retry", []), error.name, retries)
                if wait is not None:
                    if execution.stopped.wait(wait * self.wait_second):
                        raise AbortedError from error
                    continue
                for catcher in state.get("Catch", []):
                    if matches(catcher["ErrorEquals"], error.name):
                        caught = {"Error": error.name, "Cause": error.cause}
                        return insert(data, catcher.get("ResultPath", "$"), caught), catcher["Next"]
                raise

    def _output(self, name: str, state: dict[str, Any], scope: Scope, execution: Execution) -> tuple[Any, str | None]:
        if state["Type"] == "Choice":
            return scope.data, chosen(state, scope)
        if state["Type"] == "Succeed":
            return scope.data, None
        result = self._result(name, state, scope, execution)
        if "ResultSelector" in state:
            result = Scope(result, scope.context).fill(state["ResultSelector"])
        return insert(scope.data, state.get("ResultPath", "$"), result), state.get("Next")

    def _result(self, name: str, state: dict[str, Any], scope: Scope, execution: Execution) -> Any:
        if state["Type"] == "Map":
            return limited(self._map(name, state, scope, execution), name)
        parameters = scope.fill(state["Parameters"]) if "Parameters" in state else scope.data
        if state["Type"] == "Pass":
            return state.get("Result", parameters)
        return limited(self._task(name, state, limited(parameters, name), execution), name)

    def _task(self, name: str, state: dict[str, Any], parameters: dict[str, Any], execution: Execution) -> Any:
        execution.note("scheduled", name, parameters)
        if self.faults.get(name):
            raise self.faults[name].pop(0)
        seconds = state.get("TimeoutSeconds")
        deadline = None if seconds is None else time.monotonic() + seconds * self.timeout_second
        return self.integrations[state["Resource"]](parameters, Patience(execution.stopped, deadline))

    # -- Distributed Map -------------------------------------------------------------------------

    def _map(self, name: str, state: dict[str, Any], scope: Scope, execution: Execution) -> list[Any]:
        """Run a child execution for each item and return what they returned."""
        items = self._items(state["ItemReader"], scope)
        inputs = [self._item(state, item, index, scope) for index, item in enumerate(items)]
        machine = f"{self.arn}/{state.get('Label', name)}"
        place = machine.replace(":stateMachine:", ":execution:")
        named = [(str(uuid.uuid4()), item) for item in inputs]
        children = [Execution(f"{place}:{child}", child, machine, item) for child, item in named]
        execution.children += children
        threshold = Threshold.of(state, len(items))

        def run(child: Execution) -> None:
            """Run one item's execution; stop all others where too many have failed."""
            if execution.stopped.is_set():
                child.stop()
            child.started_at = datetime.now(UTC)
            self._run(child, state["ItemProcessor"])
            if threshold.is_exceeded(children):
                for other in children:
                    other.stop()

        with ThreadPoolExecutor(state.get("MaxConcurrency") or max(1, len(items))) as pool:
            list(pool.map(run, children))
        if execution.stopped.is_set():
            raise AbortedError
        if threshold.is_exceeded(children):
            raise StatesError("States.ExceedToleratedFailureThreshold", f"more than {threshold} items failed")
        return [child.output if child.status == "SUCCEEDED" else described(child) for child in children]

    def _items(self, reader: dict[str, Any], scope: Scope) -> list[Any]:
        """Read the items from S3."""
        place = scope.fill(reader["Parameters"])
        try:
            items = json.loads(self.read(place["Bucket"], place["Key"]))
        except Exception as error:
            raise StatesError("States.ItemReaderFailed", f"{place}: {error}") from error
        if not isinstance(items, list):
            raise StatesError("States.ItemReaderFailed", f"{place}: not an array")
        return items

    def _item(self, state: dict[str, Any], item: Any, index: int, scope: Scope) -> Any:
        if "ItemSelector" not in state:
            return item
        context = scope.context | {"Map": {"Item": {"Index": index, "Value": item}}}
        return Scope(scope.data, context).fill(state["ItemSelector"])

    # -- integrations ----------------------------------------------------------------------------

    def _list_executions(self, parameters: dict[str, Any], _: Patience) -> dict[str, Any]:
        """Answer with the executions, newest first."""
        asked = request("stepfunctions", "ListExecutions", parameters)
        assert asked["stateMachineArn"] == self.arn
        listed = [item for item in self.listed if item.status == asked.get("statusFilter", item.status)]
        rows = [
            {
                "ExecutionArn": item.arn,
                "Name": item.name,
                "StartDate": timestamp(item.started_at),
                "StateMachineArn": self.arn,
                "Status": item.status,
            }
            for item in reversed(listed)
        ]
        return {"Executions": rows[: asked.get("maxResults", 100)]}


@dataclass(frozen=True)
class Threshold:
    """How many items of a Map may fail: with both fields set, each is a limit."""

    count: float
    percentage: float
    items: int

    @classmethod
    def of(cls, state: dict[str, Any], items: int) -> "Threshold":
        count, percentage = state.get("ToleratedFailureCount"), state.get("ToleratedFailurePercentage")
        if count is None and percentage is None:
            return cls(0, 100, items)
        return cls(items if count is None else count, 100 if percentage is None else percentage, items)

    def is_exceeded(self, children: list[Execution]) -> bool:
        failed = sum(child.status == "FAILED" for child in children)
        return failed > self.count or failed * 100 > self.percentage * self.items


def described(child: Execution) -> dict[str, Any]:
    """Return what stands in a Map's result for an item that failed: the execution itself, its input and cause too.

    After the Developer Guide's "ResultWriter (Map)".
    """
    included = {"Included": True}
    return {
        "Cause": child.cause,
        "Error": child.error,
        "ExecutionArn": child.arn,
        "Input": json.dumps(child.input),
        "InputDetails": included,
        "Name": child.name,
        "OutputDetails": included,
        "RedriveCount": 0,
        "RedriveStatus": "REDRIVABLE_BY_MAP_RUN",
        "StartDate": timestamp(child.started_at),
        "StateMachineArn": child.machine,
        "Status": child.status,
        "StopDate": timestamp(datetime.now(UTC)),
    }


# -- errors --------------------------------------------------------------------------------------


def matches(names: list[str], error: str) -> bool:
    """Return whether a Retry or a Catch is for an error: by its whole name, or by one of the two wildcards."""
    if error in TERMINAL:
        return False
    return error in names or "States.ALL" in names or ("States.TaskFailed" in names and error != "States.Timeout")


def next_wait(retriers: list[dict[str, Any]], error: str, retries: dict[int, int]) -> float | None:
    """Return the seconds until the next try, None where there is none. Each retrier counts its own."""
    for index, retrier in enumerate(retriers):
        if matches(retrier["ErrorEquals"], error):
            done = retries.get(index, 0)
            if done >= retrier.get("MaxAttempts", 3):
                return None
            retries[index] = done + 1
            wait = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** done
            return float(min(wait, retrier.get("MaxDelaySeconds", wait)))
    return None


# -- states --------------------------------------------------------------------------------------


def chosen(state: dict[str, Any], scope: Scope) -> str:
    """Return the state that a Choice leads to."""
    for rule in state["Choices"]:
        if holds(rule, scope):
            return str(rule["Next"])
    if "Default" not in state:
        raise StatesError("States.NoChoiceMatched", json.dumps(scope.data))
    return str(state["Default"])


def failure(state: dict[str, Any], scope: Scope) -> StatesError:
    """Return the error of a Fail state."""
    paths = [state.get(f"{name}Path") for name in ("Error", "Cause")]
    error, cause = (path and scope.evaluate(path) for path in paths)
    return StatesError(error or state.get("Error", ""), cause or state.get("Cause", ""))


def selected(state: dict[str, Any], name: str, scope: Scope) -> Any:
    """Return the part of the data that InputPath or OutputPath selects; null is nothing of it."""
    path = state.get(name, "$")
    return {} if path is None else scope.read(path)
