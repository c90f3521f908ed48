"""Settings of a receiver on the web: its headers, mistakes with remedies, and secrets that no message contains."""

# ruff: noqa: S106 - the secrets are made up

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import logferry
from logferry.errors import SettingsError
from logferry.settings import Settings

SOURCE = Path(logferry.__file__).parents[1]
URL = "https://logs.example.com/v1/logs"
MIB = 1024 * 1024


def settings(destination: str = URL, **given: str) -> Settings:
    """Return the settings of these variables, without their prefix."""
    texts = {"DESTINATION": destination, **given}
    return Settings.from_environ({f"LOGFERRY_{name}": value for name, value in texts.items()})


def headers(**given: str) -> dict[str, str]:
    """Return the headers of these settings."""
    options = settings(**given).https
    return dict(options.headers) if options else {}


def mistakes(destination: str = URL, **given: str) -> list[str]:
    """Return the mistakes in these settings."""
    with pytest.raises(SettingsError) as raised:
        settings(destination, **given)
    return list(raised.value.mistakes)


def test_token_and_headers_become_headers_of_the_request() -> None:
    """Names do not depend on their case, and a value may contain equals signs."""
    assert headers() == {}
    assert headers(HTTPS_TOKEN="abc.def==") == {"authorization": "Bearer abc.def=="}
    assert headers(HTTPS_HEADERS="Authorization=Basic dXNlcjpwYXNz==, X-Team = a%2Cb ,") == {
        "authorization": "Basic dXNlcjpwYXNz==",
        "x-team": "a,b",
    }
    assert headers(HTTPS_TOKEN="t", HTTPS_HEADERS="x-scope=1") == {"authorization": "Bearer t", "x-scope": "1"}


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ({"HTTPS_TOKEN": "Bearer s3cret"}, "give the token alone"),
        ({"HTTPS_TOKEN": "s3crét"}, "ASCII"),
        ({"HTTPS_HEADERS": "x=ok,s3cret"}, "header 2 is not a pair: use name=value"),
        ({"HTTPS_HEADERS": "s3 cret=1"}, "header 1 is not a pair"),
        ({"HTTPS_HEADERS": "x-key="}, "the value of x-key is empty"),
        ({"HTTPS_HEADERS": "x-key=s3cr%0D%0Aet"}, "the value of x-key is empty or has a character"),
        ({"HTTPS_HEADERS": "x-key=s3crét"}, "visible ASCII"),
        ({"HTTPS_HEADERS": "Content-Type=s3cret"}, "logferry sets Content-Type itself"),
        ({"HTTPS_HEADERS": "x-key=s3cret,X-Key=s3cret"}, "X-Key is there twice"),
        ({"HTTPS_TOKEN": "s3cret", "HTTPS_HEADERS": "Authorization=s3cret"}, "exclude each other"),
    ],
    ids=str,
)
def test_mistake_is_named_with_its_remedy_and_without_the_value(given: dict[str, str], remedy: str) -> None:
    """The message is in the log of the function."""
    (mistake,) = mistakes(**given)
    assert mistake.startswith("LOGFERRY_HTTPS_")
    assert remedy in mistake
    for part in ("s3", "cret", "crét"):
        assert part not in mistake


def test_repr_has_no_value() -> None:
    """Settings can be part of a traceback."""
    found = settings(f"{URL}/path-of-the-receiver", HTTPS_TOKEN="s3cret", HTTPS_HEADERS="x-key=hidden")
    assert repr(found.https) == "<HttpsOptions authorization x-key>"
    assert "s3cret" not in repr(found)
    assert "hidden" not in repr(found)
    assert "path-of-the-receiver" not in repr(found)


@pytest.mark.parametrize("url", [f"https://user:s3cret@logs.example.com/{'p' * 20}?key=s3cret", "https://s3cret@x/"])
def test_message_about_a_url_has_no_user_path_and_query(url: str) -> None:
    """All of them can be secrets."""
    (mistake,) = mistakes(url)
    assert "the URL has a user: send credentials with LOGFERRY_HTTPS_TOKEN or LOGFERRY_HTTPS_HEADERS" in mistake
    assert "s3cret" not in mistake
    assert "ppp" not in mistake


@pytest.mark.parametrize(
    ("destination", "name", "value", "scheme"),
    [
        (URL, "KEY", "{environment}/{segment}.json.gz", "https"),
        (URL, "S3_STORAGE_CLASS", "STANDARD_IA", "https"),
        (URL, "S3_CLIENT", "sdk", "https"),
        ("http://localhost:4318/v1/logs", "S3_ACL", "private", "http"),
        ("s3://my-log-bucket/logs", "HTTPS_TOKEN", "s3cret", "s3"),
        ("s3://my-log-bucket/logs", "HTTPS_HEADERS", "x-key=s3cret", "s3"),
        ("file:///tmp/out", "HTTPS_TOKEN", "s3cret", "file"),
        ("file:///tmp/out", "S3_TAGS", "team=a", "file"),
    ],
)
def test_setting_without_effect_is_a_mistake(destination: str, name: str, value: str, scheme: str) -> None:
    """A user expects an effect."""
    assert mistakes(destination, **{name: value}) == [
        f"LOGFERRY_{name} has no effect with a destination {scheme}://: remove it"
    ]


def test_text_has_no_place_in_its_lines() -> None:
    """A receiver could not remove repeated lines."""
    assert "use ndjson or otlp" in mistakes(FORMAT="text")[0]


def test_otlp_may_be_compressed_with_zstd_for_a_receiver() -> None:
    """The OTLP receiver of the collector reads it; the rule for objects in S3 has another reader."""
    assert settings(FORMAT="otlp", COMPRESSION="zstd").format == "otlp"


@pytest.mark.parametrize(
    ("destination", "given", "limit"),
    [
        (URL, {}, 2 * MIB),
        (URL, {"FORMAT": "otlp"}, 2 * MIB),
        (URL, {"OBJECT_BYTES": "64KiB"}, 64 * 1024),
        ("s3://my-log-bucket/logs", {}, None),
        ("s3://my-log-bucket/logs", {"OBJECT_BYTES": "1MiB"}, MIB),
    ],
)
def test_object_for_a_receiver_has_a_maximum_size(destination: str, given: dict[str, str], limit: int | None) -> None:
    """Receivers limit the size of a request."""
    assert settings(destination, **given).object_bytes == limit


def test_missing_bundle_and_invalid_proxy_are_mistakes() -> None:
    """They would fail with the first upload."""
    environ = {"LOGFERRY_DESTINATION": URL, "AWS_CA_BUNDLE": "/nonexistent.pem", "HTTPS_PROXY": "not a proxy"}
    with pytest.raises(SettingsError) as raised:
        Settings.from_environ(environ)
    assert [mistake.split(" is ")[0] for mistake in raised.value.mistakes] == ["AWS_CA_BUNDLE", "HTTPS_PROXY"]


@pytest.mark.parametrize("destination", ["s3://my-log-bucket/logs", "file:///tmp/out"])
def test_no_module_of_the_receiver_is_imported_for_another_destination(destination: str) -> None:
    """A feature that is off costs a start nothing."""
    environ = {"LOGFERRY_DESTINATION": destination, "AWS_REGION": "eu-central-1"}
    environ |= {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    look = (
        f"import sys; sys.path[:] = {[str(SOURCE), *sys.path]!r}\n"
        "from logferry.settings import Settings\n"
        "from logferry.shipper.upload_target import open_target\n"
        f"open_target(Settings.from_environ({environ!r}), {environ!r})\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, timeout=20)
    loaded = set(done.stdout.split())
    assert f"logferry.sinks.{'s3' if destination.startswith('s3') else 'directory'}" in loaded
    assert not [name for name in loaded if "https" in name and name.startswith("logferry.")]
    assert not loaded & {"logferry.sinks.retry_after", "logferry.http_client.proxy_tunnel", "http", "logferry.options"}
