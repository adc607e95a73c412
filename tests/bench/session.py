"""The servers and the place in which everything is measured."""

import contextlib
import itertools
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.contenders import LOOP, PRODUCT, environment, github_backup
from bench.frugal_s3 import FrugalS3
from bench.measure import Meter, Usage
from bench.organisation import Organisation
from bench.recorded import RecordedGitHub, Traffic
from bench.restored import Restorer
from embedded.aws import EmbeddedAws
from embedded.stack import Stack


@dataclass
class Session:
    """One benchmark: each run has a folder of its own, and is told apart by a number."""

    place: Path
    s3: FrugalS3
    aws: EmbeddedAws
    recorded: RecordedGitHub
    restorer: Restorer
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def stack(self) -> Stack:
        return Stack(self.s3, self.aws)

    @property
    def meter(self) -> Meter:
        return Meter(self.recorded, self.s3)

    @contextlib.contextmanager
    def bucket(self) -> Iterator[str]:
        """Yield a new bucket, gone after this block."""
        name = self.s3.new_bucket(f"bench-{os.getpid()}-{id(self)}-{next(self.numbers)}")
        try:
            yield name
        finally:
            self.s3.remove_bucket(name)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield a new folder, gone after this block."""
        folder = self.place / f"run-{next(self.numbers)}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder)

    def product(self, organisation: Organisation, bucket: str, differential: bool = False) -> tuple[Usage, Traffic]:
        """Measure this product."""
        with self.scratch() as scratch:
            given = environment(self.stack, organisation, bucket, scratch, differential)
            return self.meter.run(PRODUCT, given, scratch)

    def loop(self, organisation: Organisation) -> Usage:
        """Measure the sequential loop, and restore what it stored."""
        with self.scratch() as scratch, self.bucket() as bucket:
            given = environment(self.stack, organisation, bucket, scratch)
            usage, _ = self.meter.run(LOOP, given, scratch)
            self.restorer.loop(organisation, bucket)
            return usage

    def github_backup(self, organisation: Organisation) -> Usage:
        """Measure github-backup's clone step, and compare the mirrors that it leaves."""
        with self.scratch() as scratch:
            usage, _ = self.meter.run(*github_backup(organisation, scratch), scratch)
            self.restorer.mirrors(organisation, scratch)
            return usage
