"""What a program runs with: environment, logs, metrics, retries, stopping, and the budgets of disk and memory."""
