"""Fixtures of the check's tests: an environment without AWS, proxies and settings."""

from __future__ import annotations

import datetime as dt
import os

import pytest

from logferry import log
from logferry.sinks.s3 import sdk_clock

MACHINE = ("AWS_", "LOGFERRY_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]) -> None:
    """Remove what this machine sets, and restore what a check changes in this process."""
    for name in [name for name in os.environ if name.startswith(MACHINE)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/config")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", f"{tmp_path}/credentials")
    monkeypatch.setattr(log.get_logger(), "_threshold", 0)
    monkeypatch.setattr(sdk_clock, "_offset", dt.timedelta(0))
