"""An organisation on the recorded GitHub, of which a share may change overnight."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from bench.recorded import RecordedGitHub
from bench.repositories import Generated
from embedded.github import API, FakeGitHub
from embedded.organisation import OWNER


@dataclass
class Organisation:
    """Its repositories as they are now. The embedded GitHub is only asked for what is not recorded."""

    github: FakeGitHub
    recorded: RecordedGitHub
    repositories: list[Generated]

    def change(self, share: float) -> int:
        """Let a share (percent) of the repositories, one at least, go over to their other day; return how many."""
        repositories = list(self.github.repositories.values())
        number = round(len(repositories) * share / 100) or int(share > 0)
        for repository, generated in list(zip(repositories, self.repositories, strict=True))[:number]:
            repository.path = generated.changed if repository.path == generated.path else generated.path
        self.recorded.set(contents={repository.full_name: str(repository.path) for repository in repositories})
        return number


def organisation(
    github: FakeGitHub, recorded: RecordedGitHub, repositories: list[Generated], number: int | None = None
) -> Organisation:
    """Return an organisation of `number` repositories, which share the contents of those given.

    The embedded GitHub, which must be a new one, gives out the recorded one's URLs.
    """
    number = number or len(repositories)
    contents = [repositories[index % len(repositories)] for index in range(number)]
    for index, generated in enumerate(contents):
        name = generated.name if number == len(repositories) else f"{generated.name}-{index:05}"
        github.add(OWNER, name, generated.path, size_kb=size(generated.path) // 1024)
    github.token_life = timedelta(days=30)  # a recorded token must not end before the benchmark does
    recorded.set(upstream=github.server_url)
    github.server_url, github.api_url = recorded.url, recorded.url + API
    made = Organisation(github, recorded, contents)
    made.change(0)
    return made


def size(path: Path) -> int:
    """Return the bytes of a repository's packs."""
    return sum(pack.stat().st_size for pack in (path / "objects" / "pack").glob("*.pack"))
