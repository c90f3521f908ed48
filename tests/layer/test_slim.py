"""The slim layer: which packages stay, and how the extension works without the AWS SDK."""

from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from logferry.emulator.s3_server import S3Server
from logferry.layer import slim
from logferry.layer.subprocesses import LayerError
from support import layer_roots as roots
from support.layer_roots import BUILD_SECONDS, Entry, built_layer

MARKERS = {"python_version": "3.13", "sys_platform": "linux"}


def _install(site: Path, name: str, *requirements: str, files: tuple[str, ...] = ()) -> None:
    """Write a package with its metadata and its record, as pip installs it."""
    info = site / f"{name}-1.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1", *(f"Requires-Dist: {one}" for one in requirements)]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    files = (*files, f"{name}/__init__.py", f"{name}-1.dist-info/METADATA", f"{name}-1.dist-info/RECORD")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    for file in files:
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).touch()


def _needed(site: Path, *requirements: str) -> set[str]:
    installed = {one.name: one for one in distributions(path=[str(site)])}
    return slim.needed(map(Requirement, requirements), installed, MARKERS)


def test_needed_follows_indirect_requirements(tmp_path: Path) -> None:
    """A cycle ends, and a package that no requirement names is left out."""
    _install(tmp_path, "one", "two>=1")
    _install(tmp_path, "two", "one")
    _install(tmp_path, "other")
    assert _needed(tmp_path, "one") == {"one", "two"}


def test_needed_evaluates_markers_for_the_layer(tmp_path: Path) -> None:
    """A requirement for another version or system does not count."""
    _install(tmp_path, "one", "two; python_version < '3.13'", "three; sys_platform == 'win32'")
    assert _needed(tmp_path, "one", "two; sys_platform == 'win32'") == {"one"}


def test_needed_follows_an_extra_that_is_requested_later(tmp_path: Path) -> None:
    """A package may be needed without its extra first, and with it by another package."""
    _install(tmp_path, "one", "two[fast]")
    _install(tmp_path, "two", "three; extra == 'fast'")
    _install(tmp_path, "three")
    assert _needed(tmp_path, "two", "one") == {"one", "two", "three"}
    assert _needed(tmp_path, "two") == {"two"}


def test_needed_rejects_a_package_that_is_not_pinned(tmp_path: Path) -> None:
    """The layer would lack a module. The message names the package that needs it."""
    _install(tmp_path, "one", "two")
    with pytest.raises(LayerError, match="one needs two, which the pinned requirements do not contain"):
        _needed(tmp_path, "one")


def test_remove_optional_keeps_the_certificate_authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that the SDK shares with another requirement stays. Files outside the folder are not removed."""
    site, outside = tmp_path / "site", tmp_path / "script"
    outside.touch()
    _install(site, "aioboto3", "botocore", "shared")
    _install(site, "aiohttp", files=("../script", "aiohttp/deep/module.py"))
    _install(site, "botocore", files=("botocore/cacert.pem", "botocore/data/s3.json"))
    _install(site, "httptools", "shared")
    _install(site, "shared")
    optional = ["aioboto3>=15", "aiohttp", "google-re2", "backports.zstd"]
    monkeypatch.setattr(slim, "requires", lambda _: [*optional, "httptools", "typer; extra == 'cli'"])
    slim.remove_optional(site, markers=MARKERS)
    left = {path.relative_to(site).as_posix() for path in site.iterdir()}
    assert left == {"botocore", "httptools", "httptools-1.dist-info", "shared", "shared-1.dist-info"}
    assert [path.name for path in (site / "botocore").iterdir()] == ["cacert.pem"]
    assert outside.exists()


def test_remove_optional_reports_a_renamed_requirement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slim layer that contains the SDK under another name would be a full layer."""
    monkeypatch.setattr(slim, "requires", lambda _: ["httptools"])
    with pytest.raises(LayerError, match="logferry does not require aioboto3, aiohttp, backports-zstd, google-re2"):
        slim.remove_optional(tmp_path, markers=MARKERS)


@roots.needs_apt
@pytest.mark.slow
@pytest.mark.timeout(2 * BUILD_SECONDS)
def test_slim_layer_contains_no_module_of_the_sdk() -> None:
    """Only logferry, its other requirements and the certificate authorities are there, and NOTICE names each."""
    report = built_layer(slim=True)
    site = report.tree / "logferry/site"
    assert report.archive.name.startswith("logferry-layer-slim-")
    assert {path.name for path in site.iterdir() if path.suffix != ".dist-info"} == {
        "botocore",
        "httptools",
        "logferry",
        "structlog",
    }
    assert [path.name for path in (site / "botocore").rglob("*")] == ["cacert.pem"]
    assert report.archive_bytes < built_layer().archive_bytes
    notice = (report.tree / "logferry/NOTICE").read_text()
    assert "\nbotocore 1." in notice
    assert "\naiohttp " not in notice


class TestSlimLayerInRoots:
    """The slim layer in an empty root."""

    pytestmark = roots.in_roots

    async def test_records_arrive_from_the_slim_layer(self, s3: S3Server, bucket: str, tmp_path: Path) -> None:
        """The own client stores all records of a plain bucket."""
        (tmp_path / "tmp").mkdir()
        entry = Entry(roots.empty_root(), built_layer(slim=True).tree, tmp_path / "tmp")
        await roots.assert_records_arrive(entry, s3=s3, bucket=bucket)

    async def test_slim_layer_names_the_reason_and_the_remedy(self, s3: S3Server, bucket: str, tmp_path: Path) -> None:
        """A configuration that needs the SDK does not affect the function, and the log names the full layer."""
        (tmp_path / "tmp").mkdir()
        entry = Entry(roots.empty_root(), built_layer(slim=True).tree, tmp_path / "tmp")
        proxy = {"HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": "localhost"}
        outcome = await roots.run_workload(entry, s3=s3, bucket=bucket, environment=proxy)
        assert outcome.statuses == ("success", "success")
        assert outcome.lines == ()
        assert "HTTP_PROXY applies to 127.0.0.1, so the AWS SDK is needed" in outcome.console
        assert "use the full layer" in outcome.console
