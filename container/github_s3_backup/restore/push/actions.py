"""What a push of one repository consists of: actions, each of which says what it does, and does it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from github_s3_backup.restore.errors import Parts, PushError
from github_s3_backup.runtime.redaction import printable
from github_s3_backup.s3.download import OnBytes

NOTHING = ("nothing: everything is already there",)


@dataclass(frozen=True)
class Action:
    """Something that a push does. `says`: its lines in a dry run. `size`: the bytes that it counts while it is done.

    `part`: what its errors are called. `needed`: where it fails, no other action is done. `last`: it is done only
    where no other action failed.
    """

    says: tuple[str, ...]
    do: Callable[[OnBytes], object]
    size: int = 0
    part: str = ""
    needed: bool = False
    last: bool = False


@dataclass(frozen=True)
class Plan:
    """What a push will do. `title`: which repository goes where. `notes`: what it will not do."""

    title: str
    actions: tuple[Action, ...]
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The bytes that the actions count."""
        return sum(action.size for action in self.actions)

    def lines(self) -> list[str]:
        """Return the plan as a dry run prints it."""
        steps = [line for action in self.actions for line in action.says]
        lines = [self.title, *(f"  {line}" for line in (*(steps or NOTHING), *self.notes))]
        return [printable(line) for line in lines]

    def perform(self, on_bytes: OnBytes) -> None:
        """Do everything. One action that fails does not stop the others, unless they need it.

        Raises PartsError, and what an action that is needed raises.
        """
        parts = Parts()
        for action in self.actions:
            if action.needed:
                action.do(on_bytes)
            elif not (action.last and parts.errors):
                with parts.part(action.part):
                    action.do(on_bytes)
        parts.check()


def in_part(part: str, noun: str, plan: Callable[[], Iterable[Action]]) -> list[Action]:
    """Return the actions of a part; where the target can't take it, one that says so and fails when it is done."""
    try:
        return list(plan())
    except PushError as error:
        return [Action((f"push no {noun}: {error}",), _raiser(error), part=part)]


def _raiser(error: PushError) -> Callable[[OnBytes], object]:
    def refuse(_: OnBytes) -> None:
        raise PushError(str(error))

    return refuse
