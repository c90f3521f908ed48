"""Process 1: a bare interpreter registers, passes events on and restarts the shipper."""
