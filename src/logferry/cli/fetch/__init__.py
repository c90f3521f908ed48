"""Stored objects as local files: listed, limited to a selection, and fetched concurrently."""
