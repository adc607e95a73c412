"""The report for auditors, which each drill writes beside its own reports."""

from botocore.exceptions import BotoCoreError, ClientError

from github_s3_backup.records.signing import SigningError
from github_s3_backup.restore.session import Session
from github_s3_backup.restore.verify.drill import ReportError, Reports
from github_s3_backup.s3.errors import S3Error
from github_s3_backup.s3.trust import trusted_keys

DAYS = 90


def write_page(session: Session, reports: Reports) -> None:
    """Write the page. Where that fails, what the drill has proven stands, and a warning says why."""
    # Only a drill draws plots.
    from github_s3_backup.report.page import page_of  # noqa: PLC0415
    from github_s3_backup.report.sources import Sources, read_facts  # noqa: PLC0415

    catalogue = session.catalogue
    name = f"Bucket {catalogue.bucket}, below {catalogue.prefix}/"
    try:
        keys = trusted_keys(session.options.page_key, session.aws)
        kept = session.options.page_retention_days
        facts = read_facts(Sources(name, catalogue, keys, reports.objects, reports.folder, kept), DAYS)
        url = reports.put_page(page_of(facts), f"{session.started_at:%Y-%m-%d}")
    except (S3Error, SigningError, ReportError, BotoCoreError, ClientError) as error:
        session.log.warning("page for auditors not written", error=str(error))
        return
    session.log.info("page for auditors written", page=url, findings=len(facts.findings))
