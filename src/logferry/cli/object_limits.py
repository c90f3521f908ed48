"""Limits of the size of stored objects, which bound the memory of the reading side."""

MAX_OBJECT_BYTES = 1 << 30
"""Maximum stored size, in bytes. logferry's objects are smaller than `LOGFERRY_FLUSH_BYTES` (256
MiB at most)."""

MAX_LINE_BYTES = 128 << 20
"""Maximum decompressed size, in bytes. The largest batch has 64 MiB (journal/frame), and base64
adds a third."""
