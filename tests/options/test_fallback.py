"""The setting of the fallback destination: values, mistakes, and the imports that it does not cause."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import logferry
from logferry.destination import Destination, parse, url_of
from logferry.errors import SettingsError, SinkUnavailable
from logferry.records.model import StoredObject
from logferry.settings import Settings
from logferry.shipper.upload_target import open_fallback_target

SOURCE = Path(logferry.__file__).parents[1]
FIRST = {"LOGFERRY_DESTINATION": "s3://my-log-bucket/logs", "AWS_REGION": "eu-central-1"}
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example"}


def settings_of(fallback: str, **more: str) -> Settings:
    """Return the settings with a fallback destination."""
    return Settings.from_environ({**FIRST, "LOGFERRY_FALLBACK_DESTINATION": fallback, **more})


@pytest.mark.parametrize(
    ("fallback", "expected"),
    [
        ("s3://other-bucket/logs", Destination("s3", "other-bucket", "logs")),
        ("s3://my-log-bucket/fallback", Destination("s3", "my-log-bucket", "fallback")),
        ("s3://my-log-bucket/logs-2", Destination("s3", "my-log-bucket", "logs-2")),
        ("file:///mnt/efs", Destination("file", "", "/mnt/efs")),
        ("https://logs.example.com/in", Destination("https", "logs.example.com", "/in")),
    ],
)
def test_another_place_is_valid(fallback: str, expected: Destination) -> None:
    """Another bucket, a prefix next to the first one, or a directory."""
    options = settings_of(fallback).fallback
    assert options is not None
    assert options.destination == expected
    assert Settings.from_environ(FIRST).fallback is None


@pytest.mark.parametrize(
    ("first", "fallback"),
    [
        ("s3://my-log-bucket/logs", "s3://my-log-bucket/logs"),
        ("s3://my-log-bucket/logs", "s3://my-log-bucket/logs/fallback"),
        ("s3://my-log-bucket/logs", "s3://my-log-bucket"),
        ("file:///mnt/a", "file:///mnt/a/"),
        ("file:///mnt/a", "file:///mnt/a/b"),
        ("file:///mnt/a", "file:///"),
        ("file:///mnt/a", "file:///mnt/b/../a/c"),
        ("https://logs.example.com/in", "https://LOGS.example.com:443/in"),
    ],
)
def test_overlapping_destinations_are_a_mistake(first: str, fallback: str) -> None:
    """A reader of one destination would find the objects of both."""
    with pytest.raises(SettingsError, match="use another bucket, or prefixes next to each other") as raised:
        settings_of(fallback, LOGFERRY_DESTINATION=first)
    assert len(raised.value.mistakes) == 1


@pytest.mark.parametrize(
    ("fallback", "more", "mistake"),
    [
        ("other", {}, "LOGFERRY_FALLBACK_DESTINATION is 'other': use s3://"),
        ("s3://other-bucket/_logs", {}, "LOGFERRY_FALLBACK_DESTINATION has the part '_logs'"),
        ("s3://other-bucket/" + "x" * 1000, {}, "with the prefix of LOGFERRY_FALLBACK_DESTINATION, but S3 allows"),
        ("s3://other-bucket", {"AWS_ENDPOINT_URL_S3": "https://other-bucket.s3.example.com"}, "already contains the b"),
    ],
)
def test_mistakes_of_the_fallback_name_its_variable(fallback: str, more: dict[str, str], mistake: str) -> None:
    """The rules of the first destination apply to the second one too."""
    with pytest.raises(SettingsError) as raised:
        settings_of(fallback, **more)
    (found,) = raised.value.mistakes
    assert mistake in found


def test_mistake_of_both_destinations_is_reported_once() -> None:
    """A variable of AWS or the key concern both."""
    with pytest.raises(SettingsError) as raised:
        settings_of("s3://other-bucket", AWS_USE_FIPS_ENDPOINT="maybe", LOGFERRY_KEY="{environment}-{segment}.log")
    assert len(raised.value.mistakes) == 2


def test_options_of_s3_need_one_destination_in_s3() -> None:
    """They apply to each destination in S3."""
    tags = {"LOGFERRY_S3_TAGS": "team=x"}
    assert settings_of("s3://other-bucket", LOGFERRY_DESTINATION="file:///mnt/a", **tags).s3 is not None
    assert settings_of("file:///mnt/a", **tags).s3 is not None
    with pytest.raises(SettingsError, match="LOGFERRY_S3_TAGS has no effect with a destination file://: remove it"):
        settings_of("file:///mnt/b", LOGFERRY_DESTINATION="file:///mnt/a", **tags)


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/a/b", "file:///mnt/efs/logs"])
def test_url_of_a_destination_is_its_text(url: str) -> None:
    """Messages name the destination as the user wrote it."""
    assert url_of(parse(url)) == url
    assert url_of(parse(url + "/")) == url


def test_url_of_a_receiver_has_no_path() -> None:
    """The path can be a secret."""
    assert url_of(parse("https://logs.example.com:8443/secret?key=1")) == "https://logs.example.com:8443"
    assert url_of(parse("firehose://stream?region=eu-central-1")) == "firehose://stream"
    with pytest.raises(SettingsError) as raised:
        settings_of("https://logs.example.com/secret#fragment")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("first", "fallback", "more", "mistake"),
    [
        ("s3://bucket", "https://logs.example.com", {"LOGFERRY_HTTPS_TOKEN": "t", "LOGFERRY_S3_TAGS": "team=x"}, ""),
        ("https://logs.example.com", "s3://bucket", {"LOGFERRY_KEY": "{environment}-{segment}.ndjson.gz"}, ""),
        (
            "s3://bucket",
            "file:///mnt/a",
            {"LOGFERRY_HTTPS_TOKEN": "t"},
            "no effect with a destination s3:// and file://",
        ),
        ("s3://bucket", "https://logs.example.com", {"LOGFERRY_FORMAT": "text"}, "a receiver cannot remove"),
        ("https://logs.example.com", "firehose://stream", {"LOGFERRY_FORMAT": "otlp"}, "a stream cannot deliver"),
        (
            "https://logs.example.com",
            "s3://bucket",
            {"LOGFERRY_FORMAT": "otlp", "LOGFERRY_COMPRESSION": "zstd"},
            "zstd",
        ),
        ("s3://bucket", "mnt", {"LOGFERRY_S3_TAGS": "team=x"}, "LOGFERRY_FALLBACK_DESTINATION is 'mnt'"),
    ],
)
def test_setting_must_have_an_effect_with_one_destination(
    first: str, fallback: str, more: dict[str, str], mistake: str
) -> None:
    """And it must not contradict any of both."""
    if not mistake:
        settings_of(fallback, LOGFERRY_DESTINATION=first, **more)
        return
    with pytest.raises(SettingsError) as raised:
        settings_of(fallback, LOGFERRY_DESTINATION=first, **more)
    (found,) = raised.value.mistakes
    assert mistake in found


def test_object_fits_into_a_request_to_either_destination() -> None:
    """A segment becomes one object in one destination or the other."""
    receiver = "https://logs.example.com"
    assert settings_of("file:///mnt/a").object_bytes is None
    assert settings_of(receiver).object_bytes == 2 * 1024 * 1024
    assert settings_of("s3://bucket", LOGFERRY_DESTINATION=receiver).object_bytes == 2 * 1024 * 1024
    assert settings_of(receiver, LOGFERRY_OBJECT_BYTES="64KiB").object_bytes == 64 * 1024


def test_fallback_is_opened_with_its_first_use(tmp_path: Path) -> None:
    """Neither its module is imported nor its directory made before."""
    target = open_fallback_target(settings_of(f"file://{tmp_path}/fallback"), {})
    assert target is not None
    assert repr(target.sink) == f"<LazySink file://{tmp_path}/fallback>"
    assert [*tmp_path.iterdir()] == []
    stored = StoredObject("a/b.ndjson.gz", b"body", {"fallback": "true"}, "application/gzip")
    asyncio.run(target.sink.put(stored))
    assert (tmp_path / "fallback/a/b.ndjson.gz").read_bytes() == b"body"


def test_remedy_names_the_setting_of_the_fallback() -> None:
    """A person would change the first destination otherwise."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    target = open_fallback_target(settings_of(f"https://127.0.0.1:{port}/in"), {})
    assert target is not None
    metadata = {"environment": "0a1b2c3d4e5f6071", "segment": "1"}
    with pytest.raises(SinkUnavailable, match="check host and port of LOGFERRY_FALLBACK_DESTINATION"):
        asyncio.run(target.sink.put(StoredObject("key", b"body", metadata, "application/gzip")))


def modules_after(statement: str, **more: str) -> set[str]:
    """Return the modules of logferry that a new interpreter has imported after a statement."""
    environ = FIRST | CREDENTIALS | more
    look = (
        f"import sys; sys.path += [{str(SOURCE)!r}, *{[p for p in sys.path if 'site-packages' in p]!r}]\n"
        "from logferry.settings import Settings\n"
        f"environ = {environ!r}\n"
        f"{statement}\n"
        "print(*(name for name in sys.modules if name.startswith('logferry.')))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", look], capture_output=True, text=True, check=True, timeout=30
    )
    return set(done.stdout.split())


START = (
    "from logferry.shipper import event_loop\n"
    "from logferry.shipper.upload_target import open_fallback_target, open_target\n"
    "settings = Settings.from_environ(environ)\n"
    "target, fallback = open_target(settings, environ), open_fallback_target(settings, environ)\n"
    "import asyncio\n"
    "async def serve():\n"
    "    from logferry.flush.uploader import Uploader\n"
    "    Uploader(journal=None, sink=target.sink, encode=target.encode, timeout_seconds=5, fallback=fallback)\n"
    "asyncio.run(serve())"
)
"""The parts of a start that see the setting."""


def test_start_without_a_fallback_imports_nothing_of_it() -> None:
    """A feature that is off costs nothing."""
    off = modules_after(START)
    on = modules_after(START, LOGFERRY_FALLBACK_DESTINATION="file:///mnt/efs")
    assert on - off == {
        "logferry.flush.failover",
        "logferry.flush.failover_log",
        "logferry.options",
        "logferry.options.fallback",
        "logferry.sinks.lazy",
    }, "and the sink of the fallback destination is imported with its first use"
