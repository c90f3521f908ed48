"""The commands in processes on the real S3 server: what they read and cost, the question, Ctrl-C, errors."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from logferry.cli.fetch import s3_failures
from logferry.cli.fetch.request_usage import RequestUsage, usd_text
from logferry.cli.fetch.terminal import clock_warning, size_text
from support.s3_faults import Fault
from support.stored_logs import make_objects, request_id

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import StoredBucket

PROGRAM = "from logferry.cli.main import main; main()"
SECONDS = 60.0


def start(stored: StoredBucket, *arguments: str, program: str = PROGRAM) -> subprocess.Popen[str]:
    """Start a command with the credentials of a reader. Its output is a pipe."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | stored.environment,
    )


async def run(stored: StoredBucket, *arguments: str, program: str = PROGRAM) -> tuple[int, str, str]:
    """Return status, stdout and stderr of a command, while the proxy runs in this event loop."""
    with start(stored, *arguments, program=program) as process:
        out, err = await asyncio.to_thread(process.communicate, timeout=SECONDS)
        return process.returncode, out, err


async def test_each_command_states_what_it_read_and_what_it_cost(stored: StoredBucket) -> None:
    """The second command makes no GET. stdout has the result only."""
    await stored.store(make_objects(20))
    status, out, err = await run(stored, "query", stored.url, "SELECT count(*) AS n FROM logs", "--json")
    assert (status, out) == (0, '{"n":100}\n'), err
    read = r"20 objects \([\d.]+ KiB\); \d+\.\d s, cached {}; \d LISTs, {} GETs, 0\.00\d+ USD\n"
    assert re.fullmatch(read.format(0, 20), err), err
    status, out, err = await run(
        stored, "logs", stored.url, "--function", "orders-api", "--request-id", request_id(7)[:8]
    )
    assert status == 0
    assert "5 lines" not in out
    assert "4 lines of 1 object; complete: segment 8 has its end." in out
    assert re.fullmatch(read.format(20, 0), err), err
    assert len(stored.requests()) == 20


async def test_an_expensive_read_needs_yes_without_a_terminal(stored: StoredBucket) -> None:
    """No GET is sent before. The message names the option."""
    await stored.store(make_objects(3))
    program = f"import logferry.cli.fetch.request_usage as usage; usage.MAX_UNCONFIRMED_GETS = 2; {PROGRAM}"
    status, out, err = await run(stored, "query", stored.url, "FROM logs", program=program)
    assert (status, out, stored.requests()) == (2, "", [])
    assert err == (
        "3 objects are not in the cache: 3 GETs cost 0.0000012 USD; "
        "add --yes to read them, or limit the read with --function and --since\n"
    )
    assert (await run(stored, "query", stored.url, "FROM logs", "--yes", program=program))[0] == 0


def files_in(folder: Path) -> list[Path]:
    """Return all files below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_ctrl_c_leaves_complete_files_only(stored: StoredBucket, cache: Path) -> None:
    """The next command fetches only what is missing."""
    objects = make_objects(300)
    await stored.store(objects)
    with start(stored, "query", stored.url, "SELECT count(*) AS n FROM logs", "--json") as process:
        await stored.proxy.wait_until("arrived", 100)
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.to_thread(process.communicate, timeout=SECONDS)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    files = files_in(cache)
    assert not [path for path in files if path.name.endswith(".part")]
    bodies = {each.body for each in objects}
    assert all(path.read_bytes() in bodies for path in files)
    status, out, err = await run(stored, "query", stored.url, "SELECT count(*) AS n FROM logs", "--json")
    assert (status, out) == (0, '{"n":1500}\n')
    assert f"cached {len(files):,}; " in err


@pytest.mark.parametrize("command", ["query", "logs", "tail"])
async def test_a_refused_destination_is_one_sentence_with_status_2(stored: StoredBucket, command: str) -> None:
    """The sentence has S3's code and the permission. There is no traceback."""
    await stored.proxy.set_fault(Fault.ACCESS_DENIED)
    arguments = {"query": ("SELECT 1",), "logs": (), "tail": ()}[command]
    status, out, err = await run(stored, command, stored.url, *arguments, "--function", "orders-api", "--since", "1h")
    assert (status, out) == (2, "")
    sentence, *rest = [line for line in err.splitlines() if "LIST" not in line or "cannot" in line]
    assert rest == []
    assert sentence == f"cannot read {stored.url}: AccessDenied; {s3_failures.READ_REMEDY}"


async def test_an_empty_prefix_has_empty_results(stored: StoredBucket) -> None:
    """`logs` names what to check, and `query` has no rows."""
    status, out, err = await run(stored, "logs", f"{stored.url}/none", "--since", "1h")
    assert (status, out) == (1, "")
    assert "was found: check the prefix, --function and --since" in err
    status, out, err = await run(stored, "query", f"{stored.url}/none", "FROM logs", "--json")
    assert (status, out) == (0, "")
    assert err.startswith("0 objects (0 B)")


@pytest.mark.parametrize("code", sorted(s3_failures.REMEDIES))
def test_each_code_has_one_sentence_with_a_remedy(code: str) -> None:
    """The message names destination, code and remedy, on one line."""
    message = s3_failures.failure("s3://b/logs", code, "ignored\ntext")
    assert message == f"cannot read s3://b/logs: {code}; {s3_failures.REMEDIES[code]}"
    assert "\n" not in message
    assert s3_failures.code_in(f"403: <Error><Code>{code}</Code></Error>") == code


def test_other_errors_keep_their_text_on_one_line() -> None:
    """A connection that fails has no code, and an unknown code keeps the permission as a remedy."""
    assert s3_failures.failure("s3://b", "", "a\n b") == (
        "cannot read s3://b: a b; check the network, AWS_ENDPOINT_URL_S3 and HTTPS_PROXY"
    )
    assert s3_failures.failure("s3://b", "Odd", "text").startswith("cannot read s3://b: Odd (text); reading requires")
    assert s3_failures.code_in("Received redirect without LOCATION, this normally") == "PermanentRedirect"
    assert s3_failures.code_in("nothing") == ""
    assert "AWS_REGION" in s3_failures.no_region("s3://b")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, ""), (59, ""), (-59, ""), (61, "is 61 s slow, "), (-3600, "is 3600 s fast, ")]
)
def test_a_wrong_clock_is_a_warning(seconds: int, text: str) -> None:
    """S3 accepts 15 minutes, but `--since` would select other records."""
    warning = clock_warning(timedelta(seconds=seconds))
    assert bool(warning) is bool(text)
    assert text in warning


def test_amounts_are_readable() -> None:
    """Small prices have two significant digits, and sizes a binary unit."""
    usds = [usd_text(each) for each in (0, 4e-7, 0.000156, 0.0042, 0.5, 12.345, 4000)]
    assert usds == ["0 USD", "0.0000004 USD", "0.00016 USD", "0.0042 USD", "0.50 USD", "12.35 USD", "4,000.00 USD"]
    assert [size_text(each) for each in (0, 1023, 1024, 5 << 20, 3 << 40, 1 << 60)] == [
        *("0 B", "1023 B", "1.0 KiB", "5.0 MiB", "3.0 TiB", "1048576.0 TiB"),
    ]
    assert str(RequestUsage(lists=1, gets=1)) == "1 LIST, 1 GET, 0.0000054 USD"
