"""Admission rule and time limits of the connections to the listening socket, without I/O.

The bootstrap server and the listener use the same rule.

Guarantees:
- A newcomer is always admitted. If `MAX_CONNECTIONS` are open, the oldest one is closed.
- A connection that sends nothing is closed after `READ_SECONDS`. A request must be complete
  `READ_SECONDS` after its first byte. Between two requests the limit is `IDLE_SECONDS`.
- A client that does not read its last response is disconnected after `READ_SECONDS`.

Design: any process of the execution environment can connect. Idle or slow connections must not shut
the platform out, neither during startup nor afterwards. (The bootstrap server used to close the
newest connection and had no time limit, so 32 idle connections shut the platform out.) The module
is pure: times are arguments, in seconds on a monotonic clock.
"""

from __future__ import annotations

from typing import Generic, TypeVar

READ_SECONDS = 5.0
"""Time limit of a request, in seconds: from its first byte on, and until the first byte. The
platform needs milliseconds."""
IDLE_SECONDS = 30.0
"""Time limit between two requests of a connection, in seconds."""
MAX_CONNECTIONS = 64
"""Maximum number of open connections. The platform uses one or two, and Lambda limits a process to
1,024 file descriptors."""

Connection = TypeVar("Connection")


class Admission(Generic[Connection]):
    """The open connections of a server, oldest first, with their time limits."""

    __slots__ = ("_connections",)

    def __init__(self) -> None:
        self._connections: dict[Connection, tuple[float, bool]] = {}
        """Time at which each connection is closed, and whether it is in the middle of a request."""

    @property
    def connections(self) -> tuple[Connection, ...]:
        """The open connections, oldest first."""
        return tuple(self._connections)

    def admit(self, connection: Connection, now: float) -> Connection | None:
        """Register a new connection; return the connection that must be closed for it, if any."""
        oldest = next(iter(self._connections)) if len(self._connections) >= MAX_CONNECTIONS else None
        if oldest is not None:
            del self._connections[oldest]
        self._connections[connection] = (now + READ_SECONDS, False)
        return oldest

    def release(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._connections.pop(connection, None)

    def on_data(self, connection: Connection, now: float, *, responded: bool, in_request: bool) -> float:
        """Return the time limit of a connection after it has received data.

        `responded`: the data led to a response. `in_request`: a request is incomplete.
        """
        deadline, was_in_request = self._connections[connection]
        # 1. A request has begun. 2. All requests are answered. 3. Otherwise the limit stays the same, and
        # a request that arrives byte by byte does not extend it.
        if in_request and (responded or not was_in_request):
            deadline = now + READ_SECONDS
        elif responded and not in_request:
            deadline = now + IDLE_SECONDS
        self._connections[connection] = (deadline, in_request)
        return deadline

    def on_last_response(self, connection: Connection, now: float) -> float:
        """Return the time limit for the client to read its last response."""
        deadline = now + READ_SECONDS
        self._connections[connection] = (deadline, False)
        return deadline

    def expired(self, now: float) -> list[Connection]:
        """Return the connections whose time limit has passed, oldest first."""
        return [connection for connection, (deadline, _) in self._connections.items() if deadline <= now]

    def next_deadline(self) -> float | None:
        """Return the earliest time limit, or None without connections."""
        return min((deadline for deadline, _ in self._connections.values()), default=None)
