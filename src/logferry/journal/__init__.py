"""A durable queue of segments: frame, segment, journal."""
