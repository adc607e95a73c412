"""The model behind docs/costs.py: durations, prices, and the tables of the pages."""
