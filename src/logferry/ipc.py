"""Messages between the supervisor and the shipper.

Design: messages are packets on a SOCK_SEQPACKET pair, so each arrives complete. The end of one process reaches the
other as an empty packet. This module imports nothing, because it is on the serial part of every cold start.
"""

EVENT = b"E"
"""Supervisor to shipper: `E<number>\\n<the platform's event, JSON as it came>`."""
EVENT_RETRY = b"A"
"""Supervisor to shipper: as EVENT, but the shipper before this one died with it."""
PING = b"?"
"""Supervisor to shipper: are you still there?"""
DONE = b"D"
"""Shipper to supervisor: `D<number>`, nothing is in flight for that event any more."""
PONG = b"!"
"""Shipper to supervisor: the answer to a ping."""
READY = b"R"
"""Shipper to supervisor: the settings are sound, deliveries are being answered."""
UPLOAD_SUCCEEDED = b"W"
"""Shipper to supervisor: something was uploaded while no event was in hand, so whatever died before, this one works."""
IDLE = b"I"
"""Shipper to supervisor: `I<reason>`, it has said why it cannot work, and ends."""

NUDGE = 23
"""Supervisor to shipper, ahead of an event, as a signal: what loads shall wait until the event is heard (see `pause`).
SIGURG on x86 and ARM (signal(7)): by default it is ignored, so it harms nobody who is not prepared."""

PACKET_BYTES = 64 * 1024
"""Larger than any event: the platform's are a few hundred bytes. A buffer of twice the size would be mapped and
unmapped by the C library for each packet."""
