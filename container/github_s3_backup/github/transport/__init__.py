"""Requests on the wire: what one may do, how often it is tried, and how many go at once."""
