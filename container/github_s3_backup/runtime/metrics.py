"""CloudWatch metrics of a run and of a restore drill. Their names stand here and in names.tf, nowhere else."""

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from structlog.typing import FilteringBoundLogger

NAMESPACE = "GitHubBackup"
DIMENSION = "Service"

SUCCESS = "BackupSuccess"
FAILURE = "BackupFailure"
DURATION = "RunDuration"
BYTES = "BytesUploaded"
UNCHANGED = "RepositoriesUnchanged"
AS_CHANGES = "RepositoriesStoredAsChanges"
FETCHED = "BytesFetched"
ISSUES_WAITING = "IssuesWaiting"
VANISHED = "RepositoriesVanished"
ANOMALY = "BackupAnomaly"
REPLICATION_BEHIND = "ReplicationBehind"
SHARDS = "Shards"
SHARDS_FAILED = "ShardsFailed"

RESTORE_VERIFIED = "RestoreVerified"
RESTORE_FAILED = "RestoreFailed"
RESTORE_SECONDS = "RestoreSeconds"
OLDEST_PROOF = "OldestProofAge"

BACKUP_AGE = "NewestBackupAge"

# Published by the state machine, not by this program.
RUN_REFUSED = "RunRefused"

# Published once by every run, as far as it knows.
UNITS = {
    SUCCESS: "Count",
    FAILURE: "Count",
    DURATION: "Seconds",
    BYTES: "Bytes",
    UNCHANGED: "Count",
    AS_CHANGES: "Count",
    FETCHED: "Bytes",
    ISSUES_WAITING: "Count",
    VANISHED: "Count",
    ANOMALY: "Count",
    REPLICATION_BEHIND: "Count",
    SHARDS: "Count",
    SHARDS_FAILED: "Count",
}
# Published by `restore verify --publish` and `restore check --publish`.
RESTORE_UNITS = {
    RESTORE_VERIFIED: "Count",
    RESTORE_FAILED: "Count",
    RESTORE_SECONDS: "Seconds",
    OLDEST_PROOF: "Seconds",
    BACKUP_AGE: "Seconds",
}
# CloudWatch must not delay the end of a run.
CLIENT = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=5, read_timeout=10)


def publish_run(
    aws: boto3.session.Session, service_name: str, seconds: float, values: dict[str, float], log: FilteringBoundLogger
) -> None:
    """Publish what is known of a run that took so long. What it does not know, it does not publish: 0 ends an alarm."""
    publish(aws, service_name, {DURATION: seconds, **values}, log)


def publish(aws: boto3.session.Session, service_name: str, values: dict[str, float], log: FilteringBoundLogger) -> None:
    """Publish one value per metric with the dimension Service. If CloudWatch fails, log that and continue."""
    units = UNITS | RESTORE_UNITS
    dimensions = [{"Name": DIMENSION, "Value": service_name}]
    data = [
        {"MetricName": name, "Dimensions": dimensions, "Value": value, "Unit": units[name]}
        for name, value in values.items()
    ]
    try:
        client = aws.client("cloudwatch", config=CLIENT)
        client.put_metric_data(Namespace=NAMESPACE, MetricData=data)  # type: ignore[arg-type]
    except (BotoCoreError, ClientError, ValueError) as error:
        log.warning("metrics not published", error=str(error))
