"""Amounts, durations, and sizes as a person reads them."""

from calculator.durations import Task


def dollars(amount: float) -> str:
    """Return an amount as a person reads it."""
    return f"${amount:,.2f}" if amount < 10 else f"${amount:,.0f}"


def duration(seconds: float) -> str:
    """Return a duration as a person reads it."""
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def task_size(task: Task) -> str:
    """Return what a task has."""
    return f"{task.vcpu} vCPU, {task.memory_gb} GB, {task.disk_gb} GB disk"
