"""The assumed prices. The calculator looks none of them up."""

# Name, default, what it is: prices in US dollars.
PRICES = (
    ("s3-standard", 0.023, "a GB-month in S3 Standard"),
    ("s3-cold", 0.004, "a GB-month in S3 Glacier Instant Retrieval"),
    ("s3-put", 0.005, "1,000 PUT requests in S3 Standard"),
    ("s3-put-cold", 0.02, "1,000 PUT requests or transitions to S3 Glacier Instant Retrieval"),
    ("s3-head", 0.0004, "1,000 HEAD requests in S3 Standard"),
    ("transfer", 0.02, "a GB replicated to the second region"),
    ("cpu", 0.0324, "a vCPU-hour of Fargate on ARM64"),
    ("memory", 0.00356, "a GB-hour of memory of Fargate on ARM64"),
    ("disk", 0.000111, "a GB-hour of temporary disk of Fargate, above 20 GB"),
    ("address", 0.005, "an hour of the task's public address"),
    ("logs", 0.86, "a GB of logs, taken in and kept for a year"),
    ("metric", 0.3, "a metric per month, by the hours in which it is sent: 10 of the run, 24 of Container Insights"),
    (
        "fixed",
        7.5,
        "what is fixed, per month: the secret, two KMS keys, 9 alarms, the dashboard, 4 replication metrics",
    ),
    ("nat-hour", 0.045, "an hour of a NAT gateway"),
    ("nat", 0.045, "a GB through the NAT gateway"),
    ("transition", 0.025, "1,000 state transitions of Step Functions"),
    ("volume", 0.08, "a GB-month of an EBS volume (gp3), by the second"),
)


def price_table() -> str:
    """Return the assumed prices as a table."""
    rows = ["| Option | Assumed, in dollars | For |", "|---|---|---|"]
    rows += [f"| `--price-{name}` | {price:g} | {meaning} |" for name, price, meaning in PRICES]
    return "\n".join(rows)
