"""A backup run, as a story: make the plan, back up its shards, finish with one manifest.

Here one task does all three. Where each is a task of its own (tasks.py), what they tell each other is in S3.
"""

from pathlib import Path

from github_s3_backup.backup.finish import Results, finish
from github_s3_backup.backup.plan.make import Planned, make_plan
from github_s3_backup.backup.problems import StartError
from github_s3_backup.backup.services import RunContext, new_services
from github_s3_backup.backup.shard import back_up_shard
from github_s3_backup.configuration import Configuration
from github_s3_backup.runtime.stop import Stopped
from github_s3_backup.runtime.threads import within_grace

# Seconds that the start has to finish after the task was stopped.
START_GRACE = 8.0


def run(configuration: Configuration, scratch: Path, context: RunContext) -> int:
    """Do a whole run and return its exit code. Raises StartError, and Stopped before there is a plan."""
    planned = list_all(configuration, scratch, context)
    reports = [
        back_up_shard(shard, new_services(shard, configuration, planned.servers, scratch, context))
        for shard in planned.shards
    ]
    percent, variables = configuration.anomaly_percent, configuration.variables
    results = Results(planned.plan, reports, planned.git_version, percent, variables)
    return finish(results, planned.servers.bucket, context)


def list_all(configuration: Configuration, scratch: Path, context: RunContext) -> Planned:
    """Make the plan. Raises StartError, also where the deadline has passed, and Stopped."""
    try:
        planned = within_grace(lambda: make_plan(configuration, scratch, context), context.stop, START_GRACE)
        context.stop.check()
    except Stopped:
        if context.stop.reason != "deadline":
            raise
        hours = f"{configuration.deadline_hours:g}"
        raise StartError(f"RUN_DEADLINE_HOURS: the repositories were not listed within {hours} hours") from None
    count = sum(len(shard.repositories) for shard in planned.shards)
    context.log.info("repositories listed", repositories=count, workers=configuration.concurrency)
    for problem in planned.plan.problems:
        context.log.error("manifest damaged, comparing with an older one", error=problem)
    for failure in planned.plan.failures:
        context.log.error("failed", full_name=failure.full_name, stage="list", duration=0.0, error=failure.error)
    return planned
