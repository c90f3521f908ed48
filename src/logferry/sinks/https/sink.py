"""A sink that is a receiver on the web: one POST request per object.

Guarantees:
- `put` returns only after the receiver has responded with a 2xx that is no page of HTML, and raises
  otherwise. It raises RecordsRejected if an OTLP receiver has stored only a part of the records.
- Each request of a segment has the same `Idempotency-Key`, so that a receiver can recognise a
  repetition.
- Redirects are not followed, because the request has records and credentials.
- No message and no `repr` contains a header of the settings, or path and query of the URL.

Design: HTTP gives no way to overwrite an earlier request. After an ambiguous failure the records
are sent again, so they arrive at least once. The key is that of an IETF draft. The lines also have
their environment, segment and number.

References: RFC 9110, section 9.3.3 (POST); draft-ietf-httpapi-idempotency-key-header; OTLP
specification, "OTLP/HTTP".
"""

from __future__ import annotations

import contextlib
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import unquote

from logferry.errors import SinkError, SinkUnavailable
from logferry.http_client.response import HttpError
from logferry.log import get_logger
from logferry.sinks.https import responses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Protocol

    from logferry.http_client.response import Response
    from logferry.records.model import StoredObject

    class Client(Protocol):
        """An HTTP client for the host of a receiver."""

        async def connect(self) -> None:
            """Have a connection open. Raises HttpError, OSError or SinkError."""

        async def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Response:
            """Send a request and return its response. Raises HttpError, OSError or SinkError."""

        def close(self) -> None:
            """Close the connection."""


USER_AGENT = "logferry"
MEDIA_TYPES = {"ndjson": "application/x-ndjson", "otlp": "application/json"}
CODINGS = {"gzip": "gzip", "zstd": "zstd", "none": ""}
_SHORTEST_SECRET, _SHORTEST_PART_OF_URL = 4, 12
"""Shorter texts of the request are not removed from messages, in characters: they are parts of common words."""

log = get_logger()


class HttpsSink:
    """Storage of objects at `path` of a receiver."""

    def __init__(
        self,
        *,
        client: Client,
        origin: str,
        path: str,
        form: str,
        compression: str,
        headers: Mapping[str, str],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`origin` is scheme, host and port; `form` is `ndjson` or `otlp`; `headers` are those of the settings."""
        self._client = client
        self._origin = origin
        self._path = path
        self._is_otlp = form == "otlp"
        self._wall_clock = wall_clock
        self._secrets = frozenset(_secrets(path, headers))
        self._warned = False
        coding = CODINGS[compression]
        self._headers = {
            "host": origin.partition("://")[2],
            "content-type": MEDIA_TYPES[form],
            **({"content-encoding": coding} if coding else {}),
            "accept": "application/json, */*",
            "accept-encoding": "identity",
            "user-agent": USER_AGENT,
            **headers,
        }

    def __repr__(self) -> str:
        return f"<HttpsSink {self._origin}>"

    async def connect(self) -> None:
        """Have a connection open; the next `put` reports a failure."""
        with contextlib.suppress(SinkError, HttpError, OSError):
            await self._client.connect()

    async def put(self, stored: StoredObject) -> None:
        """Send one object.

        Raises SinkUnavailable or SinkRejected, and then the receiver may or may not have it. Raises RecordsRejected if
        the receiver has stored a part of it.
        """
        where = f"post {self._origin}"
        key = f'"{stored.metadata["environment"]}/{stored.metadata["segment"]}"'
        headers = self._headers | {"idempotency-key": key, "content-length": str(len(stored.body))}
        try:
            response = await self._client.request("POST", self._path, headers, stored.body)
        except (HttpError, OSError) as error:
            raise SinkUnavailable(f"{where}: {error}") from error
        except SinkError as error:
            raise error.restated(f"{where}: {error}") from error
        request = responses.Request(where, self._is_otlp, len(stored.body), self._secrets)
        if failure := responses.error_of(response, request, now=self._wall_clock()):
            raise failure
        self._warn(responses.warning_of(response, request))

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _warn(self, warning: str) -> None:
        if warning and not self._warned:
            self._warned = True
            log.warning("the destination accepted all records with a warning", reason=warning)


def _secrets(path: str, headers: Mapping[str, str]) -> Iterator[str]:
    """Yield the texts of a request that a receiver could repeat in its response, and that no message may contain."""
    for part in re.split(r"[/?&=]", path):
        if len(part) >= _SHORTEST_PART_OF_URL:
            yield from {part, unquote(part)}
    for value in headers.values():
        # The first word of credentials is their scheme, such as Bearer.
        for text in {value, value.partition(" ")[2]}:
            if len(text) >= _SHORTEST_SECRET:
                yield text
