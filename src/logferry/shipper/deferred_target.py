"""Upload target whose settings contain references: it is opened by the first connection or upload.

Guarantees:
- Nothing is resolved before the first `connect` or `put`. Batches are stored before and meanwhile, and a SnapStart
  snapshot contains no value.
- A reference that cannot be resolved, and settings that are invalid with its value, are failures of the upload. The
  records stay in the spool, and the circuit breaker limits the attempts.
- After a rejection the references are resolved again, at most once in `RESOLVE_AGAIN_SECONDS`. If a value has changed,
  the upload is repeated with it, so that a rotated secret needs no new environment.
- An object is stored only in the form of the destination. One that was encoded in another form, before the
  destination was known, is encoded again.
- No error contains a value, or a part of one that has `MIN_SECRET_CHARACTERS`.

Design: a rejection is the only sign of a rotated secret that all destinations have. Rejected uploads are rare already
(`flush.circuit_breaker`), so the sink need not know which rejections a secret can cause.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, NamedTuple

from logferry.errors import LogferryError, SettingsError, SinkError, SinkRejected, SinkUnavailable
from logferry.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

    from logferry.records.model import Header, StoredObject
    from logferry.sinks.base import Sink

    Encode = Callable[[Header, Iterable[bytes], bool], StoredObject]

RESOLVE_SECONDS = 4.0
"""Maximum duration of a resolution, in seconds."""
RESOLVE_SHARE = 0.8
"""Maximum duration as a share of the upload timeout, so that a slow service is reported before the upload ends."""
RESOLVE_AGAIN_SECONDS = 180.0
"""Minimum time between two resolutions, in seconds. A rejected upload is tried again after 225 s or more."""
MIN_SECRET_CHARACTERS = 4
"""Length from which a part of a value is removed from messages."""
_REMOVED = "…"

log = get_logger()


class OpenTarget(NamedTuple):
    """A destination whose settings are known."""

    sink: Sink
    encode: Encode
    form: object
    """The form of the objects that the destination can store. Equal forms mean equal objects."""


class DeferredTarget:
    """The sink and the encoder of a destination that is not known yet."""

    def __init__(
        self,
        *,
        resolve: Callable[[], Awaitable[Mapping[str, str]]],
        open_target: Callable[[Mapping[str, str]], OpenTarget],
        encode: Encode,
        form: object,
        name: str,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Resolve nothing.

        `resolve` returns the settings with the values of their references, and `open_target` opens the target with
        them; the latter raises SettingsError. `encode` is used until the target is open, and makes objects in `form`.
        `name` is the destination in messages: its URL, or the reference.
        """
        self._resolve = resolve
        self._open_target = open_target
        self._encode = encode
        self._form = form
        self._name = name
        self._encoded: tuple[str, object] = ("", None)
        """Key and form of the last object that was encoded."""
        self._wall_clock = wall_clock
        self._one_resolution = asyncio.Lock()
        self._target: OpenTarget | None = None
        self._values: Mapping[str, str] = {}
        self._resolved_at = 0.0

    def __repr__(self) -> str:
        return f"<DeferredTarget {self._name}>"

    def __str__(self) -> str:
        return self._name

    def encode(self, header: Header, batches: Iterable[bytes], final: bool) -> StoredObject:
        """Return the object of a segment, in the form of the destination if it is known."""
        target = self._target
        stored = (target.encode if target else self._encode)(header, batches, final)
        self._encoded = (stored.key, target.form if target else self._form)
        return stored

    async def connect(self) -> None:
        """Resolve the references and connect; the next `put` reports a failure."""
        try:
            target = await self._opened()
        except SinkError:
            return
        await target.sink.connect()

    async def put(self, stored: StoredObject) -> None:
        """Store one object. Raises SinkUnavailable or SinkRejected, also for references that are not resolved."""
        try:
            try:
                await self._put(stored)
            except SinkRejected:
                if not await self._has_new_values():
                    raise
                await self._put(stored)
        except LogferryError as error:
            error.args = (self._without_values(str(error)),)
            raise error from None

    async def close(self) -> None:
        """Close the connections of the sink that is open."""
        await _close(self._target)

    async def _put(self, stored: StoredObject) -> None:
        target = await self._opened()
        key, form = self._encoded
        if key == stored.key and form != target.form:
            raise SinkUnavailable(f"{key} was encoded before the destination was known, and is encoded again for it")
        await target.sink.put(stored)

    async def _opened(self) -> OpenTarget:
        async with self._one_resolution:
            if self._target is None:
                values = await self._resolve()
                self._values, self._resolved_at = values, self._wall_clock()
                self._target = self._open(values)
            return self._target

    async def _has_new_values(self) -> bool:
        """Resolve the references again after a rejection, if it is time; return whether a value has changed."""
        async with self._one_resolution:
            if self._target is None or abs(self._wall_clock() - self._resolved_at) < RESOLVE_AGAIN_SECONDS:
                return False
            self._resolved_at = self._wall_clock()
            try:
                values = await self._resolve()
            except SinkError as error:
                log.info("the references in the settings were not resolved again", reason=str(error))
                return False
            if values == self._values:
                return False
            before, self._target, self._values = self._target, None, values
            try:
                self._target = self._open(values)
            finally:
                await _close(before)
            log.info("the value of a reference has changed, so the upload is repeated")
            return True

    def _open(self, values: Mapping[str, str]) -> OpenTarget:
        try:
            return self._open_target(values)
        except SettingsError as error:
            message = f"the settings are invalid with the values of their references: {error}"
            raise SinkRejected(message) from None

    def _without_values(self, message: str) -> str:
        """Return a message without the resolved texts and their parts, the longest ones first."""
        parts = {part for text in self._values.values() for part in _parts(text)}
        for part in sorted(parts, key=len, reverse=True):
            if len(part) >= MIN_SECRET_CHARACTERS:
                message = message.replace(part, _REMOVED)
        return message


def _parts(text: str) -> Iterator[str]:
    """Yield a text, its parts between separators of URLs and lists, and the values of pairs in it."""
    yield text
    for part in re.split(r"[\s/?&@,;]+", text):
        if not part.endswith(":"):  # the scheme of a URL
            yield part
        yield part.partition("=")[2]


async def _close(target: OpenTarget | None) -> None:
    """Close the connections of a target, if its sink has any."""
    closing = getattr(target.sink, "close", None) if target else None
    if closing and (pending := closing()):
        await pending
