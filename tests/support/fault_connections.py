"""Connections of the fault proxy: HTTP messages, and ends of a connection that a server does not produce.

References: SO_LINGER in socket(7); SO_ATTACH_FILTER in socket(7) and the kernel's filter documentation.
"""

from __future__ import annotations

import asyncio
import ctypes
import socket
import ssl
import struct
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_LINGER_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with a time of zero: close sends RST instead of FIN."""
_SO_ATTACH_FILTER = 26
_DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)
"""Classic BPF program of one instruction, `ret #0`: the kernel drops every packet for the socket."""


async def read_message(reader: asyncio.StreamReader, *, has_body: bool = True) -> bytes:
    """Return one HTTP message whose body has a length, as PUT and its response have. Raises EOFError at the end.

    `has_body` is False for the response to a HEAD request, which states the length of the object.
    """
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [
        int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
    ]
    return head + await reader.readexactly(lengths[0] if lengths and has_body else 0)


def header_of(message: bytes, name: bytes) -> bytes:
    """Return the value of a header, or an empty value without it."""
    for line in message.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return b""


async def write(writer: asyncio.StreamWriter, response: bytes, *, pause: float = 0.0) -> None:
    """Write a response, at once or with a pause after each byte."""
    for part in (response,) if not pause else [bytes((byte,)) for byte in response]:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(pause)


async def write_endless(writer: asyncio.StreamWriter, head: bytes, *, pause: float) -> None:
    """Write a head and chunks without an end, until the client closes the connection. Raises OSError then."""
    await write(writer, head + b"Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"400\r\n" + b"x" * 0x400 + b"\r\n"
    while True:
        await write(writer, chunk)
        await asyncio.sleep(pause)


def as_chunked(response: bytes) -> bytes:
    """Return the same response with a chunked body, in chunks of 7 bytes, and a trailer."""
    head, _, body = response.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length:")]
    chunks = [body[place : place + 7] for place in range(0, len(body), 7)]
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"\r\n".join([*lines, b"Transfer-Encoding: chunked", b"\r\n"]) + framed + b"0\r\nX-Trailer: 1\r\n\r\n"


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, so that the client gets `connection reset by peer`."""
    if sock := _open_socket(writer):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    writer.transport.abort()


def silence(writer: asyncio.StreamWriter) -> None:
    """Drop all packets of the client without an acknowledgement, a FIN or a RST, as a middlebox does."""
    if sock := _open_socket(writer):
        program = ctypes.create_string_buffer(_DROP_ALL)
        # struct sock_fprog: number of instructions, and a pointer to them at its natural alignment.
        filter_ = struct.pack("HxxxxxxP", 1, ctypes.addressof(program))
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_)


def _open_socket(writer: asyncio.StreamWriter) -> socket.socket | None:
    sock: socket.socket | None = writer.get_extra_info("socket")
    return sock if sock is not None and sock.fileno() >= 0 else None


def make_context(folder: Path, *, subject_alternative_name: str) -> ssl.SSLContext:
    """Create a self-signed certificate in `folder`, and return a server context that presents it."""
    folder.mkdir(parents=True)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 7 -subj /CN=proxy"
    extensions = (
        f"-addext subjectAltName={subject_alternative_name} -addext keyUsage=critical,digitalSignature,keyCertSign"
    )
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *extensions.split(), *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
