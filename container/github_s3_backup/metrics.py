"""The metrics of a run and of a restore drill, and the only place in this program that names them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.literals import StandardUnitType
    from mypy_boto3_cloudwatch.type_defs import MetricDatumTypeDef

NAMESPACE = "GitHubBackup"
DIMENSION = "Service"

SUCCESS = "BackupSuccess"
FAILURE = "BackupFailure"
DURATION = "RunDuration"
BYTES = "BytesUploaded"
UNCHANGED = "RepositoriesUnchanged"

RESTORE_VERIFIED = "RestoreVerified"
RESTORE_FAILED = "RestoreFailed"
RESTORE_SECONDS = "RestoreSeconds"

UNITS: "dict[str, StandardUnitType]" = {
    SUCCESS: "Count",
    FAILURE: "Count",
    DURATION: "Seconds",
    BYTES: "Bytes",
    UNCHANGED: "Count",
}

RESTORE_UNITS: "dict[str, StandardUnitType]" = {
    RESTORE_VERIFIED: "Count",
    RESTORE_FAILED: "Count",
    RESTORE_SECONDS: "Seconds",
}


def publish(client: "CloudWatchClient", service_name: str, values: dict[str, float]) -> None:
    """Publish one value a metric with the dimension Service. Raises botocore's errors."""
    units = UNITS | RESTORE_UNITS
    data: list[MetricDatumTypeDef] = [
        {
            "MetricName": name,
            "Dimensions": [{"Name": DIMENSION, "Value": service_name}],
            "Value": value,
            "Unit": units[name],
        }
        for name, value in values.items()
    ]
    client.put_metric_data(Namespace=NAMESPACE, MetricData=data)
