"""The check against a real S3 server, in processes: rights, readers that ignore the canary, output, and Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from logferry.cli.check.canary import canary_of
from logferry.cli.check.output import PIPE_COLUMNS
from logferry.cli.object_names import is_marker
from support.check_runs import check
from support.command_line import PROGRAM
from support.command_line import run as run_command
from support.stored_logs import make_objects, store_in

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.emulator.s3_server import S3Server

SECONDS = 60
READERS = {
    ("verify",): "COMPLETE: no missing and no duplicate records (2 objects, 8 records",
    ("verify", "--keys"): "COMPLETE: no segment is missing (2 objects",
    ("logs", "--since", "2026-11-21"): "line of invocation 1",
    ("query", "SELECT count(*) AS n FROM logs"): "10",
    ("compact",): "this writes 1 file from 2 objects",
}
"""Commands, and a part of their output for two objects."""


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process with pipes."""
    command = [sys.executable, "-c", PROGRAM, "check", *arguments]
    given = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | environment
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, env=given)


@pytest.mark.parametrize("client", ["auto", "sdk"])
async def test_the_rights_of_a_function_are_sufficient(s3: S3Server, bucket: str, client: str) -> None:
    """The identity may only write, as the role of a function."""
    settings = {"LOGFERRY_S3_CLIENT": client, "LOGFERRY_S3_TAGS": "team=x", "LOGFERRY_S3_STORAGE_CLASS": "STANDARD"}
    done = await asyncio.to_thread(run, s3.environment() | settings, f"s3://{bucket}/logs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "OK: logferry can store objects here"
    assert not done.stderr
    assert not [line for line in done.stdout.splitlines() if len(line) > PIPE_COLUMNS]
    assert "\x1b" not in done.stdout
    assert s3.shipper.secret_key not in done.stdout


async def test_a_bucket_without_rights_fails_with_the_statement(s3: S3Server, bucket: str) -> None:
    """The server names no permission."""
    await s3.create_bucket(f"other-{bucket}")
    try:
        done = await asyncio.to_thread(run, s3.environment(), f"s3://other-{bucket}/logs")
    finally:
        await s3.delete_bucket(f"other-{bucket}")
    assert done.returncode == 1
    assert "missing: s3:PutObject, in the function's role" in done.stdout
    printed = "\n".join(line.strip() for line in done.stdout.splitlines())
    statement = json.loads(printed[printed.index("{") : printed.index("}") + 1])
    assert statement == {
        "Effect": "Allow",
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::other-{bucket}/logs/*",
    }


async def test_the_reading_commands_need_two_more_permissions(s3: S3Server, bucket: str) -> None:
    """The role of a function lacks them, and an admin has them."""
    environment = s3.environment() | {"AWS_EC2_METADATA_DISABLED": "true"}
    done = await asyncio.to_thread(check, environment, f"s3://{bucket}/logs", "--reading")
    assert done.status == 1
    assert done.steps["put"]["status"] == "ok"
    assert done.steps["list"]["missing"] == ["s3:ListBucket"]
    assert done.steps["read"]["missing"] == ["s3:GetObject"]
    assert done.steps["list"]["statements"][0]["Condition"] == {"StringLike": {"s3:prefix": ["logs/*"]}}
    done = await asyncio.to_thread(check, s3.environment(s3.admin), f"s3://{bucket}", "--reading")
    assert done.status == 0, done.output
    assert await s3.list_keys(bucket) == []


@pytest.mark.parametrize(("arguments", "expected"), READERS.items(), ids=[" ".join(each) for each in READERS])
async def test_readers_ignore_a_canary_that_remains(
    s3: S3Server, bucket: str, tmp_path: Path, arguments: tuple[str, ...], expected: str
) -> None:
    """The output with and without the canaries is the same: in the folder of checks, and next to the objects."""
    environment = s3.environment(s3.admin) | {"XDG_CACHE_HOME": str(tmp_path)}
    name, *options = arguments
    for each in make_objects(2):
        await _put(s3, bucket, each)
    before = await asyncio.to_thread(run_command, name, f"s3://{bucket}/logs", *options, environment=environment)
    for folder in ("_logferry_check", "function=orders-api/dt=2026-11-21/hour=02/_logferry_check"):
        await _put(s3, bucket, canary_of(object_headers={}, folder=folder))
    after = await asyncio.to_thread(run_command, name, f"s3://{bucket}/logs", *options, environment=environment)
    assert before.status == 0, before.stdout + before.stderr
    assert expected in before.stdout
    assert (after.status, after.stdout) == (before.status, before.stdout)
    assert "canary" not in after.stderr


def test_the_tables_of_an_engine_ignore_a_canary_that_remains(tmp_path: Path) -> None:
    """The definitions that `tables` prints run in DuckDB. Its patterns do not skip names with an underscore."""
    store_in(tmp_path, make_objects(2))
    for folder in ("_logferry_check", "function=orders-api/dt=2026-11-21/hour=02/_logferry_check"):
        store_in(tmp_path, [canary_of(object_headers={}, folder=folder)])
    tables = run_command("tables", f"file://{tmp_path}", "--engine", "duckdb")
    assert tables.status == 0, tables.stderr
    with duckdb.connect() as connection:
        connection.execute(tables.stdout)
        assert connection.sql("SELECT count(*), count(DISTINCT environment) FROM logs").fetchall() == [(10, 1)]


async def _put(s3: S3Server, bucket: str, stored: Any) -> None:
    async with s3.client() as client:
        await client.put_object(Bucket=bucket, Key=f"logs/{stored.key}", Body=stored.body, Metadata=stored.metadata)


@pytest.mark.parametrize("headers", [{}, {"if-none-match": "*"}])
def test_each_part_of_the_canary_is_hidden(headers: dict[str, str]) -> None:
    """Query engines skip a file by its own name or by that of its folder. Both begin with an underscore."""
    key = canary_of(object_headers=headers).key
    assert is_marker(key)
    assert all(part.startswith("_") for part in key.split("/"))


def test_the_name_is_unique_only_if_objects_are_never_overwritten() -> None:
    """Otherwise each check without s3:DeleteObject would leave one more object."""
    assert canary_of(object_headers={}).key == canary_of(object_headers={}).key
    once = {"if-none-match": "*"}
    assert canary_of(object_headers=once).key != canary_of(object_headers=once).key


def test_ctrl_c_ends_the_check_at_once() -> None:
    """The status is that of an interrupted program, without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        environment = {
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{server.getsockname()[1]}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }
        command = [sys.executable, "-c", PROGRAM, "check", "s3://my-log-bucket/logs"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
        )
        assert process.stdout
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("ok       connection"):
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, "".join(lines) + out + err
    assert "Traceback" not in err
    assert "put" not in out
