"""The configuration file in the processes of the extension: supervisor and shipper, valid and damaged."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from support.end_to_end import arrived_in, assert_exactly_once, environment, lines_of, own_messages, records_of

if TYPE_CHECKING:
    from pathlib import Path

    from logferry.emulator.lambda_service import Lambda

VARIABLES_OF_THE_HARNESS = {"LOGFERRY_SPOOL_DIR": "", "LOGFERRY_DESTINATION": ""}
"""An empty variable counts as not set, so that the file decides."""


async def _two_invocations(service: Lambda) -> None:
    for number in range(2):
        result = await service.invoke({"marker": f"t{number}"})
        assert result.status == "success"
    end = await service.shutdown()
    assert end.exit_codes["logferry"] == 0
    assert service.timeline.of("crash") == []


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _file(tmp_path: Path, content: str) -> dict[str, str]:
    """Write the file; return the variables of a function with it."""
    path = tmp_path / "logferry.toml"
    path.write_text(content)
    return {**VARIABLES_OF_THE_HARNESS, "LOGFERRY_CONFIG": str(path)}


async def test_both_processes_read_the_file(tmp_path: Path) -> None:
    """Port, spool and kinds of records are settings of the supervisor, and all others of the shipper."""
    port, spool = _free_port(), tmp_path / "tmp" / "spool-of-the-file"
    content = f"""
destination = "file://{tmp_path}/out"
port = {port}
spool_dir = "{spool}"
types = ["function", "platform", "extension"]
flush = "invocation"
flush_invocations = 1
mask = ["email"]
log_level = "debug"

[fields]
team = "payments"
"""
    async with environment(tmp_path, _file(tmp_path, content)) as service:
        await service.invoke({"marker": "from a@example.com"})
        assert (spool / "path-token").exists()
        socket.create_connection(("127.0.0.1", port), 10).close()
        await _two_invocations(service)
    objects = arrived_in(tmp_path / "out")
    assert lines_of(objects) == ["from [email]", "t0-0", "t1-0"]
    assert any(record["type"] == "extension" for record in records_of(objects)), "the debug messages of logferry"


async def test_a_variable_takes_precedence_over_the_file(tmp_path: Path) -> None:
    """One stage can differ from the file in the deployment package."""
    settings = _file(tmp_path, 'destination = "file:///nowhere"\nenabled = false\n')
    overriding = {"LOGFERRY_DESTINATION": f"file://{tmp_path}/out", "LOGFERRY_ENABLED": "true"}
    async with environment(
        tmp_path, settings | overriding | {"LOGFERRY_SPOOL_DIR": str(tmp_path / "tmp/s")}
    ) as service:
        await _two_invocations(service)
    objects = arrived_in(tmp_path / "out")
    assert lines_of(objects) == ["t0-0", "t1-0"]
    assert_exactly_once(service, objects)


async def test_a_file_disables_logferry(tmp_path: Path) -> None:
    """The supervisor starts no shipper, and nothing is reported."""
    settings = _file(tmp_path, 'enabled = false\ndestination = "wrong"\n')
    async with environment(tmp_path, settings) as service:
        await service.start()
        assert len(service.extension_pids("logferry")) == 1
        await _two_invocations(service)
    assert service.timeline.of("subscribe") == []
    assert own_messages(service) == []


@pytest.mark.parametrize(
    ("content", "mistakes"),
    [
        ("flush = time", ["is not valid TOML: Invalid value (at line 1, column 9)"]),
        (
            'destination = "bucket"\nflush_second = 1\nport = 80\n[s3]\nacl = 5\n',
            [
                *("destination is 'bucket'", "'flush_second' is not a setting: use flush_seconds"),
                *("port is '80'", "s3.acl is '5'"),
            ],
        ),
        (None, ["cannot be read (No such file or directory): correct LOGFERRY_CONFIG"]),
    ],
    ids=["syntax", "values", "missing"],
)  # fmt: skip
async def test_a_damaged_file_is_one_message_and_does_not_affect_the_function(
    tmp_path: Path, content: str | None, mistakes: list[str]
) -> None:
    """The message has the mistakes of the file and of the variables, and none that only follows from the first."""
    settings = _file(tmp_path, content or "")
    if content is None:
        (tmp_path / "logferry.toml").unlink()
    settings |= {"LOGFERRY_SPOOL_DIR": str(tmp_path / "tmp/s"), "LOGFERRY_FLUSH": "sometimes"}
    async with environment(tmp_path, settings) as service:
        await _two_invocations(service)
    messages = [line for line in own_messages(service) if "invalid settings" in line]
    assert len(messages) == 1
    for part in (*mistakes, f"{tmp_path}/logferry.toml", "LOGFERRY_FLUSH is 'sometimes'"):
        assert part in messages[0]
    assert "LOGFERRY_DESTINATION" not in messages[0]


async def test_strict_in_the_file_fails_the_init_phase_for_its_mistakes(tmp_path: Path) -> None:
    """A deployment with a mistake in the file is found before it replaces the old one."""
    settings = _file(tmp_path, 'strict = true\ndestination = "nowhere"\n')
    settings |= {"LOGFERRY_SPOOL_DIR": str(tmp_path / "tmp/s")}
    async with environment(tmp_path, settings) as service:
        result = await service.invoke({})
    assert result.status != "success"
    assert [e.detail["error_type"] for e in service.timeline.of("crash")][:1] == ["Extension.InitError"]
    assert f"{tmp_path}/logferry.toml: destination is 'nowhere'" in own_messages(service)[0]
