"""Stored records as readable lines: `logferry logs`, and the format that `logferry tail` shares."""
