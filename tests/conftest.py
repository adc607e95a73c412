"""Servers once a worker, a world for each test."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from embedded.github import FakeGitHub
from embedded.programs import end_forks
from embedded.s3_proxy import S3Proxy
from embedded.stack import Stack, serve_stack
from support import github_contract
from support.vault import Organisation, Vault, back_up
from support.world import Repositories, World
from terraform.module import REGION, TERRAFORM, Applied, Module, copy_module
from terraform.standin.mirror import serve
from terraform.varied import VARIED

# How long an example takes says how busy the machine is.
ANY_SPEED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("usual", ANY_SPEED, max_examples=25, derandomize=True, database=None)
settings.register_profile("exhaustive", ANY_SPEED, max_examples=200)
settings.load_profile("usual")

NUMBERS = itertools.count(1)
# What starts programs and servers: each case takes seconds.
STARTS = {"stack", "standin", "workspace"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of each test that starts programs, the first case is for `make test`, and the others are exhaustive."""
    seen = set()
    for item in items:
        test, _, case = item.nodeid.partition("[")
        if case and test in seen and STARTS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.exhaustive)
        seen.add(test)


def pytest_sessionfinish() -> None:
    end_forks()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with serve_stack(tmp_path_factory.mktemp("s3")) as stack:
        yield stack


@pytest.fixture(scope="session")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Repositories:
    return Repositories(tmp_path_factory.mktemp("repositories"))


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    """An embedded GitHub, each of whose answers is held to GitHub's OpenAPI description and git-lfs' schemas."""
    differences: list[str] = []
    with FakeGitHub() as github:
        github.on_answer = lambda *answer: differences.extend(github_contract.problems(*answer))
        github.on_request = lambda *request: differences.extend(github_contract.request_problems(*request))
        yield github
    assert github.listed_as or differences == []


@pytest.fixture
def s3_proxy(world: World) -> Iterator[S3Proxy]:
    """A proxy through which the world's runs reach S3."""
    with S3Proxy(world.stack.s3.url) as proxy:
        world.variables["AWS_ENDPOINT_URL_S3"] = proxy.url
        yield proxy


@pytest.fixture(scope="session")
def standin() -> Iterator[dict[str, str]]:
    """The environment in which terraform finds the stand-in provider."""
    if TERRAFORM is None:
        pytest.skip("terraform is not installed: the module is not tested")
    with serve(region=REGION) as environment:
        yield environment


@pytest.fixture(scope="session")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this session share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "remembered"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def module(standin: dict[str, str], memory: Path, tmp_path_factory: pytest.TempPathFactory) -> Module:
    """The module, ready to be planned and applied."""
    return Module(copy_module(tmp_path_factory.mktemp("module")), standin, memory).init()


@pytest.fixture(scope="session")
def applied(module: Module) -> Applied:
    """What the module makes of the required inputs alone."""
    return module.apply()


@pytest.fixture(scope="session")
def varied(module: Module) -> Applied:
    """What the module makes of many inputs that have nothing to do with each other."""
    return module.apply(**VARIED)


@pytest.fixture(scope="session")
def drilled(module: Module) -> Applied:
    """What the module makes of the required inputs and a restore drill."""
    return module.apply(restore_drill={})


@pytest.fixture(scope="session")
def monthly(module: Module) -> Applied:
    """What the module makes of a schedule that is longer than a CloudWatch alarm looks back."""
    return module.apply(schedule_expression="cron(0 3 1 * ? *)")


@pytest.fixture(scope="session")
def orchestrated(module: Module) -> Applied:
    """What the module makes of the required inputs and a state machine."""
    return module.apply(orchestration={"volumes": True})


@pytest.fixture
def world(stack: Stack, github: FakeGitHub, repositories: Repositories, tmp_path: Path) -> Iterator[World]:
    number = next(NUMBERS)
    bucket = stack.s3.new_bucket(f"backup-{number}")
    yield World(stack, github, repositories, tmp_path, bucket, f"service-{number}")
    stack.s3.remove_bucket(bucket)


@pytest.fixture(scope="session")
def organisation(stack: Stack, repositories: Repositories, tmp_path_factory: pytest.TempPathFactory) -> Organisation:
    """Every awkward repository in a bucket, made once and only read."""
    with FakeGitHub() as github:
        bucket = stack.s3.new_bucket("organisation")
        return back_up(World(stack, github, repositories, tmp_path_factory.mktemp("backup"), bucket, "organisation"))


@pytest.fixture
def vault(organisation: Organisation, tmp_path: Path) -> Iterator[Vault]:
    """A bucket of the test's own, nothing in it yet."""
    number = next(NUMBERS)
    bucket = organisation.stack.s3.new_bucket(f"vault-{number}")
    yield Vault(organisation, bucket, tmp_path, f"service-{number}")
    organisation.stack.s3.remove_bucket(bucket)


@pytest.fixture
def whole(organisation: Organisation, tmp_path: Path) -> Vault:
    """The bucket of the whole organisation, which is only read."""
    return Vault(organisation, organisation.bucket, tmp_path, f"service-{next(NUMBERS)}")


@pytest.fixture
def vault_proxy(vault: Vault) -> Iterator[S3Proxy]:
    """A proxy through which the vault's restores reach S3."""
    with S3Proxy(vault.stack.s3.url) as proxy:
        vault.variables["AWS_ENDPOINT_URL_S3"] = proxy.url
        yield proxy
