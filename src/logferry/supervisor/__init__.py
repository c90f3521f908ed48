"""The process that Lambda starts: it registers, passes events on and restarts the shipper."""
