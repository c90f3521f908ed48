"""The channel to the supervisor as asyncio sees it: packets in, packets out.

Guarantees:
- A packet arrives complete. An empty packet marks the end of the supervisor.
- `send` never blocks and never raises. A supervisor that has ended shows in `packets`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from logferry import ipc
from logferry.log import get_logger

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

log = get_logger()


class Channel:
    """A SOCK_SEQPACKET socket to the supervisor."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        on_packet: Callable[[bytes], None] = lambda _: None,
        on_done: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_packet` receives each packet at its receipt, before `packets` yields it.

        `on_done` is called before DONE is sent.
        """
        sock.setblocking(False)
        self._on_packet = on_packet
        self._on_done = on_done
        self._socket = sock
        self._received: asyncio.Queue[bytes] = asyncio.Queue()

    async def packets(self) -> AsyncIterator[bytes]:
        """Yield the packets of the supervisor until it ends or `stop` is called."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, self._receive)
        try:
            while packet := await self._received.get():
                yield packet
        finally:
            loop.remove_reader(self._socket)

    def send(self, packet: bytes) -> None:
        """Send a packet."""
        if packet[:1] == ipc.DONE:
            self._on_done()
        try:
            self._socket.send(packet)
        except OSError as error:
            log.debug("cannot send to the supervisor", error=repr(error))

    def stop(self) -> None:
        """End the iteration over `packets`."""
        self._received.put_nowait(b"")

    def receive_waiting(self) -> None:
        """Receive every packet that has arrived, before the event loop does."""
        while self._receive():
            pass

    def _receive(self) -> bool:
        """Receive one packet; return whether another one may have arrived."""
        try:
            packet = self._socket.recv(ipc.PACKET_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            packet = b""
        self._received.put_nowait(packet)
        if packet:
            self._on_packet(packet)
        return bool(packet)
