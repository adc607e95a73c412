"""Which of the last runs are signed, by which key, and where the chain of their manifests breaks."""

from collections import Counter
from datetime import timedelta
from typing import Any

from github_s3_backup.report.chain import breaks, flawed_signatures
from github_s3_backup.report.manifests import Run, read_runs
from github_s3_backup.restore.session import Session
from github_s3_backup.s3.trust import trusted_keys

DAYS = 90


def chain(session: Session) -> dict[str, Any]:
    """Return what the report says of the chain, and warn where it breaks. Raises S3Error and SigningError.

    `signed_by`: how many runs each key signed, by the SHA-256 of the key; "none": not signed, or not by a trusted key.
    """
    keys = trusted_keys(session.options.trusted_key, session.aws)
    since = f"{session.started_at - timedelta(days=DAYS - 1):%Y-%m-%d}"
    runs = read_runs(session.catalogue, since, keys)
    signed = [run for run in runs if isinstance(run, Run)]
    findings = [*breaks(runs, since), *flawed_signatures(runs, are_keys_known=True)]
    for finding in findings:
        session.log.warning("chain of manifests", finding=finding)
    signers = Counter((run.signing_key if run.signature == "good" else None) or "none" for run in signed)
    return {"since": since, "runs": len(runs), "signed_by": dict(signers), "findings": findings}
