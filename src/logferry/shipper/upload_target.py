"""Choice of the upload target: the sink of a destination, and the encoder of the objects that it stores.

Guarantees:
- Only the chosen kind of sink and the chosen compression are imported.

Design: sink and encoder are chosen together, because a destination decides which bytes it can store. The scheme of the
destination is looked at here and nowhere else in the extension.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from logferry.destination import UNRESOLVED
from logferry.errors import SinkRejected
from logferry.records.encoder import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from logferry.records.model import Header, StoredObject
    from logferry.references.grammar import References
    from logferry.settings import Settings
    from logferry.sinks.base import Sink


class UploadTarget(NamedTuple):
    """A destination that is ready for uploads."""

    sink: Sink
    encode: Callable[[Header, Iterable[bytes], bool], StoredObject]
    """Return the object of a segment, from its header, its batches, and whether it is the last one."""


def open_target(settings: Settings, environ: Mapping[str, str]) -> UploadTarget:
    """Return the upload target of the destination.

    If settings of the upload are references, they are resolved by the first connection or upload.
    """
    if settings.references:
        return _open_deferred(settings, settings.references, environ)
    return UploadTarget(_open_sink(settings, environ), _encoder(settings))


def _open_deferred(settings: Settings, references: References, environ: Mapping[str, str]) -> UploadTarget:
    from importlib import import_module  # noqa: PLC0415 - most functions have no references

    from logferry.references.resolver import Resolver  # noqa: PLC0415
    from logferry.shipper import deferred_target  # noqa: PLC0415

    if settings.destination.scheme in {"s3", UNRESOLVED.scheme}:
        import_module("logferry.sinks.s3")  # it is probably needed, and a later import would delay an upload
    limit = min(deferred_target.RESOLVE_SECONDS, deferred_target.RESOLVE_SHARE * settings.upload_timeout)
    resolver = Resolver(references, environ, timeout_seconds=limit)

    async def resolve() -> Mapping[str, str]:
        try:
            return references.filled(await resolver.resolve())
        except ValueError as error:
            raise SinkRejected(str(error)) from None

    def open_with(texts: Mapping[str, str]) -> deferred_target.OpenTarget:
        resolved = type(settings).from_environ(environ, texts)
        return deferred_target.OpenTarget(*open_target(resolved, environ), form=_encoder)

    target = deferred_target.DeferredTarget(
        resolve=resolve, open_target=open_with, encode=_encoder(settings), form=_encoder
    )
    return UploadTarget(target, target.encode)


def _open_sink(settings: Settings, environ: Mapping[str, str]) -> Sink:
    destination = settings.destination
    if destination.scheme == "file":
        from pathlib import Path  # noqa: PLC0415 - a bucket needs no paths

        from logferry.sinks.directory import DirectorySink  # noqa: PLC0415 - only one kind of sink is used

        return DirectorySink(Path(destination.path))
    from logferry.sinks.s3 import open_sink  # noqa: PLC0415 - only one kind of sink is used

    return open_sink(
        destination.bucket,
        destination.path,
        environ,
        settings.upload_timeout,
        client=settings.s3_client,
        object_headers=settings.s3.headers if settings.s3 else None,
    )


def _encoder(settings: Settings) -> Callable[[Header, Iterable[bytes], bool], StoredObject]:
    options: dict[str, Any] = {"key": settings.key, "types": settings.types}
    options["compress"] = settings.compression == "gzip"
    if settings.compression == "zstd":
        from logferry.records import zstd_packing  # noqa: PLC0415 - imported only if it is chosen

        options["packing"] = zstd_packing.packing()
    if settings.records and settings.records.processing:
        options["make_lines"] = settings.records.processing.make_lines

    def encode_segment(header: Header, batches: Iterable[bytes], final: bool) -> StoredObject:
        return encode(header, batches, final=final, **options)

    return encode_segment
