"""A sink that is a Firehose stream: signed PutRecordBatch requests with the lines of an object.

Guarantees:
- `put` returns only after Firehose has accepted each record of the object, and raises otherwise.
- Records that a response reports as failed are sent again with a backoff, without the accepted ones. After several
  attempts without an accepted record, `put` raises, and a later `put` of the object continues with the rest.
- A request that is throttled as a whole is not repeated, because the circuit breaker decides about the next attempt.
- The clock and expired credentials are corrected within the same `put`, each once for a request.

Design: Firehose has no idempotent request. After an ambiguous failure (a lost response, a freeze) the records of one
request can be stored twice. Readers remove repetitions by `environment`, `segment` and `line`.

References: Firehose API Reference, "PutRecordBatch"; AWS JSON 1.1 protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from hashlib import sha256
from typing import TYPE_CHECKING

from logferry.aws import json_errors
from logferry.aws.request_signer import RequestSigner
from logferry.errors import SinkError, SinkUnavailable
from logferry.http_client.client import HttpClient
from logferry.http_client.response import HttpError
from logferry.http_client.tls import TlsContexts
from logferry.log import get_logger
from logferry.sinks.firehose import errors
from logferry.sinks.firehose.accepted_records import AcceptedRecords
from logferry.sinks.firehose.data_records import MAX_LINES, divide, request_body, take_request
from logferry.sinks.retry_after import retry_after

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from logferry.aws import sigv4
    from logferry.aws.credential_provider import CredentialProvider
    from logferry.http_client.address import Address
    from logferry.http_client.proxy_tunnel import ProxyTunnel
    from logferry.http_client.response import Response
    from logferry.records.model import StoredObject
    from logferry.sinks.firehose.data_records import Data

SERVICE = "firehose"
USER_AGENT = "logferry"
INLINE_BYTES = 1024 * 1024
"""Largest object that is divided, and encoded for requests, in the event loop, in bytes.

Larger ones are processed in a thread.
"""
MAX_RESPONSE_BYTES = 1024 * 1024
"""Limit of a response. The results of 500 records have about 120 KB."""
FIRST_SECONDS, LONGEST_SECONDS = 0.05, 0.8
"""Time before records are sent again, in seconds, and the longest. It doubles while no record is accepted.

The Shutdown phase has 2 seconds.
"""
MAX_FUTILE = 4
"""Maximum number of requests in a row of which no record is accepted."""
FAILING_SHARE = 0.8
"""Share of the timeout after which a `put` with failing records ends, so that its message names the cause."""
_OK = 200
_TARGET = "Firehose_20150804.PutRecordBatch"
_CONTENT_TYPE = "application/x-amz-json-1.1"


class FirehoseSink:
    """Storage of the lines of objects in a stream."""

    def __init__(
        self,
        *,
        stream: str,
        region: str,
        address: Address,
        credentials: CredentialProvider,
        environ: Mapping[str, str],
        timeout_seconds: float,
        max_lines: int = MAX_LINES,
        tunnel: ProxyTunnel | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`max_lines` is the maximum number of lines in a record of Firehose, and `tunnel` the proxy to use."""
        self._stream = stream
        self._region = region
        self._address = address
        self._timeout = timeout_seconds
        self._wall_clock = wall_clock
        self._max_lines = max_lines
        self._signer = RequestSigner(credentials, SERVICE, wall_clock)
        self._accepted = AcceptedRecords()
        self._client = HttpClient(
            address.host,
            address.port,
            TlsContexts(address.host, environ) if address.tls else None,
            timeout_seconds=timeout_seconds,
            remedies=errors.CONNECTION_REMEDIES,
            wall_clock=wall_clock,
            idempotent=False,
            max_response_bytes=MAX_RESPONSE_BYTES,
            tunnel=tunnel,
        )

    def __repr__(self) -> str:
        return f"<FirehoseSink firehose://{self._stream}>"

    async def connect(self) -> None:
        """Prepare credentials and a connection; the next `put` reports a failure."""
        with contextlib.suppress(SinkError, HttpError, OSError):
            await self._signer.prepare()
            await self._client.connect()

    async def put(self, stored: StoredObject) -> None:
        """Store the lines of one object.

        Raises SinkUnavailable or SinkRejected, and then Firehose may or may not have some of them.
        """
        where = f"put firehose://{self._stream}: {stored.key}"
        if len(stored.body) > INLINE_BYTES:
            divided = await asyncio.to_thread(divide, stored.body, self._max_lines)
        else:
            divided = divide(stored.body, self._max_lines)
        waiting = deque(self._accepted.waiting(stored.key, divided.records))
        accepted: list[Data] = []
        try:
            await self._put_all(where, waiting, accepted)
        except BaseException:
            self._accepted.add(stored.key, accepted)
            raise
        self._accepted.forget(stored.key)
        if divided.shortened_lines:
            get_logger().warning(
                "lines were shortened, because a record of Firehose has at most 1,000 KiB",
                key=stored.key,
                lines=divided.shortened_lines,
            )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    async def _put_all(self, where: str, waiting: deque[Data], accepted: list[Data]) -> None:
        """Send records until all are accepted, and add them to `accepted`. Raises SinkError."""
        backoff, total = _Backoff(self._timeout * FAILING_SHARE), len(waiting)
        while waiting:
            sent = take_request(waiting, self._stream)
            results = await self._put_request(where, sent)
            failed = [record for record, error in zip(sent, results, strict=True) if error]
            accepted += [record for record, error in zip(sent, results, strict=True) if not error]
            waiting.extendleft(reversed(failed))
            if not failed:
                backoff.reset()
            elif not await backoff.wait(futile=len(failed) == len(sent)):
                raise errors.not_accepted(where, len(waiting), total, next(filter(None, results)))

    async def _put_request(self, where: str, records: Sequence[Data]) -> Sequence[str]:
        """Send one request; return the error of each record, empty for an accepted one. Raises SinkError."""
        try:
            response = await self._request(records)
        except (HttpError, OSError) as error:
            raise SinkUnavailable(f"{where}: {error}") from error
        except SinkError as error:
            raise error.restated(f"{where}: {error}") from error
        if response.status != _OK:
            failure = errors.classify(where, response.status, *json_errors.parse_error(response.headers, response.body))
            failure.retry_after = retry_after(response.headers, now=self._wall_clock())
            raise failure
        return errors.results(where, response.body, len(records))

    async def _request(self, records: Sequence[Data]) -> Response:
        """Send a request, and once more after each correction."""
        if sum(map(len, records)) > INLINE_BYTES:
            body, digest = await asyncio.to_thread(_encoded, records, self._stream)
        else:
            body, digest = _encoded(records, self._stream)
        path = self._address.base_path
        described = {"host": self._address.host_header, "content-type": _CONTENT_TYPE, "x-amz-target": _TARGET}
        unsigned = {"content-length": str(len(body)), "user-agent": USER_AGENT, "accept-encoding": "identity"}

        def send(credentials: sigv4.Credentials) -> Awaitable[Response]:
            signed = self._signer.sign(
                "POST",
                path,
                described,
                payload_sha256=digest,
                credentials=credentials,
                region=self._region,
                encode_path_twice=True,
            )
            return self._client.request("POST", path, signed | unsigned, body)

        return await self._signer.exchange(send, json_errors.correctable_cause)


class _Backoff:
    """The time between requests of one `put` whose records fail."""

    def __init__(self, limit_seconds: float) -> None:
        self._limit = limit_seconds
        self.reset()

    def reset(self) -> None:
        """Note a request of which all records were accepted."""
        self._futile = 0
        self._until = 0.0

    async def wait(self, *, futile: bool) -> bool:
        """Wait before the next request; return False if there must be none.

        `futile` states that no record of the last request was accepted.
        """
        now = asyncio.get_running_loop().time()
        self._until = self._until or now + self._limit
        self._futile = self._futile + 1 if futile else 0
        seconds = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** max(0, self._futile - 1)) * (0.5 + _random() / 2)
        if self._futile > MAX_FUTILE or now + seconds > self._until:
            return False
        await asyncio.sleep(seconds)
        return True


def _encoded(records: Sequence[Data], stream: str) -> tuple[bytes, str]:
    """Return the body of a request and its SHA-256."""
    body = request_body(records, stream)
    return body, sha256(body).hexdigest()


def _random() -> float:
    """Return a random number from 0 to 1 that differs between the clones of a SnapStart snapshot."""
    return os.urandom(1)[0] / 255
