"""Writes a report for auditors from the manifests of the runs and the reports of the restore drills."""
