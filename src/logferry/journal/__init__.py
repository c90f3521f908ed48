"""A durable, bounded queue of segments on disk."""
