r"""Messages between the supervisor and the shipper.

| message          | packet                | sender     | meaning                                                      |
|------------------|-----------------------|------------|--------------------------------------------------------------|
| EVENT            | `E<number>\n<event>`  | supervisor | an event, as the Extensions API returned it (JSON)           |
| EVENT_RETRY      | `A<number>\n<event>`  | supervisor | the same event again, after its first shipper ended          |
| PING             | `?`                   | supervisor | the shipper must answer with PONG                            |
| DONE             | `D<number>`           | shipper    | nothing is in flight for this event any more                 |
| PONG             | `!`                   | shipper    | the answer to PING                                           |
| READY            | `R`                   | shipper    | the settings are valid and the listener answers              |
| UPLOAD_SUCCEEDED | `W`                   | shipper    | an object was stored while no event was held                 |
| IDLE             | `I<reason>`           | shipper    | the shipper has logged why it cannot work, and exits         |
| (end)            | empty                 | both       | the other process has closed its end of the channel          |

Guarantees:
- A packet holds exactly one message.
- The module imports nothing, because it is on the serial part of every cold start.

Design: the channel is a SOCK_SEQPACKET pair, so each message arrives complete. DONE and
UPLOAD_SUCCEEDED both prove that a shipper works, so both end a series of failures.
"""

EVENT = b"E"
EVENT_RETRY = b"A"
PING = b"?"
DONE = b"D"
PONG = b"!"
READY = b"R"
UPLOAD_SUCCEEDED = b"W"
IDLE = b"I"

PACKET_BYTES = 64 * 1024
"""Receive buffer for one packet, in bytes. Events are a few hundred bytes long. The C library would
map and unmap a buffer of twice this size for each packet."""


class EventSources:
    """Sources of the function's own events, which the shipper inherits over fork."""

    __slots__ = ("pipe_fd", "problem", "since_ms")

    def __init__(self, *, pipe_fd: int, problem: str, since_ms: int) -> None:
        self.pipe_fd = pipe_fd
        """Descriptor of the named pipe, or -1 without one."""
        self.problem = problem
        """Reason why there is no pipe; empty if there is one."""
        self.since_ms = since_ms
        """Start of the execution environment, in epoch milliseconds."""
