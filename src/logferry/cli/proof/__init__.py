"""Proof of completeness with SQL: rows of segments, and the faults in them, in DuckDB."""
