"""Choice of the upload target: the sink of a destination, and the encoder of the objects that it stores.

Guarantees:
- Only the chosen kind of sink and the chosen compression are imported. Those of the fallback destination are imported
  with its first use.

Design: sink and encoder are chosen together, because a destination decides which bytes it can store. The scheme of the
destination is looked at here and nowhere else in the extension.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from logferry.destination import UNRESOLVED, url_of
from logferry.errors import SinkRejected
from logferry.records.encoder import encode
from logferry.records.object_key import COMPRESSED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from logferry.destination import Destination
    from logferry.records.model import Header, StoredObject
    from logferry.references.grammar import References
    from logferry.settings import Settings
    from logferry.sinks.base import Sink


PROBABLE_SCHEME = "s3"
"""Scheme of a destination that is a reference, until it is known."""


FALLBACK_NAMES = {"LOGFERRY_DESTINATION": "LOGFERRY_FALLBACK_DESTINATION"}
"""Setting that the messages of a sink name, and that of the fallback destination."""


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
        from importlib import import_module  # noqa: PLC0415 - most functions have no references

        # A later import would delay an upload.
        import_module(_TARGETS[settings.destination.scheme or PROBABLE_SCHEME][2])
        return _open_deferred(settings, settings.references, environ, fallback=False)
    open_sink, encoder, _ = _TARGETS[settings.destination.scheme]
    return UploadTarget(open_sink(settings, environ), encoder(settings))


def open_fallback_target(settings: Settings, environ: Mapping[str, str]) -> UploadTarget | None:
    """Return the upload target of the fallback destination, or None if it is not set.

    Its sink is opened with its first use. Its objects have a mark.
    """
    if not settings.fallback:
        return None
    if settings.references and settings.references.texts.keys() - {"DESTINATION"}:
        return _open_deferred(settings, settings.references, environ, fallback=True)
    from logferry.sinks.lazy import LazySink  # noqa: PLC0415 - off by default

    settings = settings._replace(destination=settings.fallback.destination)
    open_sink, encoder, _ = _TARGETS[settings.destination.scheme]

    def open_named() -> Sink:
        from logferry.sinks.named_settings import NamedSettingsSink  # noqa: PLC0415 - imported with the first use

        return NamedSettingsSink(open_sink(settings, environ), FALLBACK_NAMES)

    sink = LazySink(open_named, name=url_of(settings.destination))
    return UploadTarget(sink, encoder(settings, fallback=True))


def _open_deferred(
    settings: Settings, references: References, environ: Mapping[str, str], *, fallback: bool
) -> UploadTarget:
    """Return a target that is opened when the references are resolved."""
    from logferry.references.resolver import Resolver  # noqa: PLC0415 - most functions have no references
    from logferry.shipper import deferred_target  # noqa: PLC0415

    limit = min(deferred_target.RESOLVE_SECONDS, deferred_target.RESOLVE_SHARE * settings.upload_timeout)
    resolver = Resolver(references, environ, timeout_seconds=limit)

    async def resolve() -> Mapping[str, str]:
        try:
            return references.filled(await resolver.resolve())
        except ValueError as error:
            raise SinkRejected(str(error)) from None

    def open_with(texts: Mapping[str, str]) -> deferred_target.OpenTarget:
        resolved = type(settings).from_environ(environ, texts)
        opened = open_fallback_target(resolved, environ) if fallback else open_target(resolved, environ)
        assert opened  # noqa: S101 - a value is never empty
        return deferred_target.OpenTarget(*opened, form=_TARGETS[_place(resolved, fallback=fallback).scheme][1])

    place = _place(settings, fallback=fallback)
    encoder = _TARGETS[place.scheme or PROBABLE_SCHEME][1]
    target = deferred_target.DeferredTarget(
        resolve=resolve,
        open_target=open_with,
        encode=encoder(settings, fallback=fallback),
        form=encoder,
        name=references.texts["FALLBACK_DESTINATION" if fallback else "DESTINATION"]
        if place == UNRESOLVED
        else url_of(place),
    )
    return UploadTarget(target, target.encode)


def _place(settings: Settings, *, fallback: bool) -> Destination:
    return settings.fallback.destination if fallback and settings.fallback else settings.destination


def _open_directory(settings: Settings, _environ: Mapping[str, str]) -> Sink:
    from pathlib import Path  # noqa: PLC0415 - a bucket needs no paths

    from logferry.sinks.directory import DirectorySink  # noqa: PLC0415 - only one kind of sink is used

    return DirectorySink(Path(settings.destination.path))


def _open_bucket(settings: Settings, environ: Mapping[str, str]) -> Sink:
    from logferry.sinks.s3 import open_sink  # noqa: PLC0415 - only one kind of sink is used

    access = settings.s3_access
    return open_sink(
        settings.destination.bucket,
        settings.destination.path,
        access.environ(environ) if access else environ,
        settings.upload_timeout,
        client=settings.s3_client,
        object_headers=settings.s3.headers if settings.s3 else None,
        role=access.role(environ) if access else None,
        names=access.names() if access else None,
    )


def _open_stream(settings: Settings, environ: Mapping[str, str]) -> Sink:
    from logferry.sinks.firehose import open_sink  # noqa: PLC0415 - only one kind of sink is used

    return open_sink(
        settings.destination.authority,
        settings.destination.path,
        environ,
        settings.upload_timeout,
        max_lines=settings.firehose.max_lines if settings.firehose else None,
    )


def _open_receiver(settings: Settings, environ: Mapping[str, str]) -> Sink:
    from logferry.sinks import https  # noqa: PLC0415 - only one kind of sink is used

    destination = settings.destination
    return https.open_sink(
        scheme=destination.scheme,
        authority=destination.authority,
        address=destination.address,
        path=destination.path,
        form=settings.format,
        compression=settings.compression,
        headers=settings.https.headers if settings.https else {},
        environ=environ,
        timeout_seconds=settings.upload_timeout,
    )


def _encoder(settings: Settings, *, fallback: bool = False) -> Callable[[Header, Iterable[bytes], bool], StoredObject]:
    options: dict[str, Any] = {"key": settings.key, "types": settings.types, "fallback": fallback}
    options["compress"] = settings.compression == "gzip"
    if settings.compression == "zstd":
        from logferry.records import zstd_packing  # noqa: PLC0415 - imported only if it is chosen

        options["packing"] = zstd_packing.packing()
    if settings.records and settings.records.processing:
        options["make_lines"] = settings.records.processing.make_lines

    def encode_segment(header: Header, batches: Iterable[bytes], final: bool) -> StoredObject:
        return encode(header, batches, final=final, **options)

    return encode_segment


def _line_encoder(
    settings: Settings, *, fallback: bool = False
) -> Callable[[Header, Iterable[bytes], bool], StoredObject]:
    """Return the encoder for a sink that divides objects into lines, so they are not compressed."""
    key = settings.key.removesuffix(COMPRESSED[settings.compression])
    return _encoder(settings._replace(compression="none", key=key), fallback=fallback)


_TARGETS = {
    "file": (_open_directory, _encoder, "logferry.sinks.directory"),
    "firehose": (_open_stream, _line_encoder, "logferry.sinks.firehose"),
    "http": (_open_receiver, _encoder, "logferry.sinks.https"),
    "https": (_open_receiver, _encoder, "logferry.sinks.https"),
    "s3": (_open_bucket, _encoder, "logferry.sinks.s3"),
}
"""Functions that open the sink and return the encoder, and the module of the sink, by the scheme of the destination."""
