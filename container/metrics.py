"""The metrics of a run, and the only place in this program that names them."""

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

UNITS: "dict[str, StandardUnitType]" = {
    SUCCESS: "Count",
    FAILURE: "Count",
    DURATION: "Seconds",
    BYTES: "Bytes",
    UNCHANGED: "Count",
}


def publish(client: "CloudWatchClient", service_name: str, values: dict[str, float]) -> None:
    """Publish one value a metric with the dimension Service. Raises botocore's errors."""
    data: list[MetricDatumTypeDef] = [
        {
            "MetricName": name,
            "Dimensions": [{"Name": DIMENSION, "Value": service_name}],
            "Value": value,
            "Unit": UNITS[name],
        }
        for name, value in values.items()
    ]
    client.put_metric_data(Namespace=NAMESPACE, MetricData=data)
