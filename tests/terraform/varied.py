"""Many inputs that have nothing to do with each other, for one apply: each test looks at what its own changed."""

import json
from typing import Any

from terraform.module import ACCOUNT, REGION

ACTIONS = [f"arn:aws:sns:{REGION}:{ACCOUNT}:pager", f"arn:aws:ssm-incidents::{ACCOUNT}:response-plan/backup"]
GROUP, PREFIXES = "sg-0fedcba9876543210", "pl-0123456789abcdef0"
_STATEMENT = {
    "Sid": "AuditorReads",
    "Effect": "Allow",
    "Action": "s3:GetObject",
    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/auditor"},
    "Resource": "*",
}
_POLICY = json.dumps({"Version": "2012-10-17", "Statement": [_STATEMENT]})

VARIED: dict[str, Any] = {
    "alarm_actions": ACTIONS,
    "alarm_emails": [],
    "anomaly_percent": 2.5,
    "backup_content": {"lfs": False},
    "buckets": {
        "primary": {"policy": _POLICY, "access_log_bucket": "logs"},
        "replica": {"policy": _POLICY, "access_log_bucket": "replica-logs"},
        "replication_time_control": True,
    },
    "concurrency": 3,
    "container_insights": "off",
    "extra_environment": {"HTTPS_PROXY": "http://proxy.internal:3128", "NO_PROXY": ".amazonaws.com"},
    "full_backup_days": 30,
    "github_app_installation_id": "77",
    "github_ca_pem": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    "github_urls": {"api": "https://github.example.com:8443/api/v3", "server": "https://github.example.com:8443"},
    "image_credentials_secret_arn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:registry-AbCdEf",
    "kms_key_arns": {"logs": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/logs"},
    "network": {
        "https_cidrs": ["2001:db8::/32", "192.0.2.0/24"],
        "security_group_ids": [GROUP],
        "egress": {
            "proxy": {"port": 3128, "to": GROUP},
            "resolver": {"port": 53, "protocol": "udp", "to": "10.0.0.2/32"},
            "lists": {"port": 8443, "to": PREFIXES},
        },
    },
    "replica_storage_class": "GLACIER_IR",
    "repositories": {
        "include": ["acme/*", "other/api"],
        "exclude": ["*/sandbox-*"],
        "skip_forks": True,
        "skip_archived": True,
    },
    "restore_drill": {"schedule_expression": "cron(0 15 ? * MON,THU *)", "grace_hours": 8, "within_days": 14},
    "run": {"deadline_hours": 0.5, "grace_hours": 12},
    "schedule_expression": "rate(30 days)",
    "secret": {"replicate": True, "recovery_window_days": 7},
    "tags": {"Team": "platform"},
}
