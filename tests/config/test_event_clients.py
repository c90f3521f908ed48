"""The clients in config/events: each language whose toolchain is installed sends events to a real extension."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from logferry.records.internal import CALL, SENT
from support.end_to_end import arrived_in, records_of
from support.event_functions import CLIENTS, copied
from support.lambda_stub import BareLambda
from support.platform_events import batch, invoke_event, report_of, runtime_done, start

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

EVENTS = (
    {"event": 'order "placed"', "level": "info", "text": "ünïcode 🚚 \\ \n end", "requestId": "r1"},
    {"metric": "orders", "value": 3, "unit": "Count"},
)
LINES = [json.dumps(event, ensure_ascii=False) for event in EVENTS]


@dataclass(frozen=True)
class Client:
    """One client: its file, the tools that it needs, and a program that sends each argument as an event."""

    name: str
    tools: tuple[str, ...]
    program: str
    program_name: str
    command: tuple[str, ...]
    build: tuple[str, ...] = ()


PROGRAMS = (
    Client(
        "events.sh",
        ("sh", "curl"),
        '. ./events.sh\nfor line in "$@"; do send_event "$line" && echo true || echo false; done\n',
        "program.sh",
        ("sh", "program.sh"),
    ),
    Client(
        "events.py",
        (sys.executable,),
        "import json, sys\nfrom events import send_event\n"
        "for line in sys.argv[1:]:\n    print(str(send_event(json.loads(line))).lower())\n",
        "program.py",
        (sys.executable, "program.py"),
    ),
    Client(
        "events.mjs",
        ("node",),
        'import { sendEvent } from "./events.mjs";\n'
        "for (const line of process.argv.slice(2)) console.log(await sendEvent(JSON.parse(line)));\nprocess.exit(0);\n",
        "program.mjs",
        ("node", "program.mjs"),
    ),
    Client(
        "Events.java",
        ("javac", "java"),
        "public final class Program { public static void main(String[] lines) {\n"
        "for (String line : lines) System.out.println(Events.send(line)); } }\n",
        "Program.java",
        ("java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-Dsun.jnu.encoding=UTF-8", "-cp", ".", "Program"),
        ("javac", "Events.java", "Program.java"),
    ),
    Client(
        "events.go",
        ("go",),
        'package main\nimport ("encoding/json"; "fmt"; "os"; "example/events")\n'
        "func main() { for _, line := range os.Args[1:] { fmt.Println(events.Send(json.RawMessage(line))) } }\n",
        "main.go",
        ("./program",),
        ("go", "build", "-o", "program", "."),
    ),
    Client(
        "events.rb",
        ("ruby",),
        'require_relative "events"\nARGV.each { |line| puts Events.send_event(JSON.parse(line)) }\n',
        "program.rb",
        ("ruby", "program.rb"),
    ),
    Client(
        "Events.cs",
        ("dotnet",),
        "using System;\nusing System.Text.Json;\nforeach (var line in args)\n"
        "    Console.WriteLine((await Events.SendAsync(JsonSerializer.Deserialize<JsonElement>(line)))"
        ' ? "true" : "false");\n',
        "Program.cs",
        ("dotnet", "run", "--no-build", "--"),
        ("dotnet", "build"),
    ),
)
CLIENTS_BY_TIME = [
    pytest.param(each, id=each.name, marks=[pytest.mark.slow] if each.name.endswith(".go") else []) for each in PROGRAMS
]
"""Clients as parameters. The first build of a Go program compiles the standard library."""
BUILD_ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOPROXY": "off",
    "GOFLAGS": "-mod=mod",
    "GOTOOLCHAIN": "local",
    "DOTNET_CLI_TELEMETRY_OPTOUT": "1",
}
BUILD_SECONDS = 240
GO_MODULE = "module example\n\ngo 1.21\n"
DOTNET_PROJECT = (
    '<Project Sdk="Microsoft.NET.Sdk"><PropertyGroup><OutputType>Exe</OutputType>'
    "<TargetFramework>net8.0</TargetFramework><Nullable>enable</Nullable></PropertyGroup></Project>"
)


def test_every_client_is_tested_and_documented() -> None:
    """A file without a test here, or without a row in the README, is an oversight."""
    names = {path.name for path in CLIENTS.iterdir()} - {"README.md", "__pycache__"}
    assert names == {client.name for client in PROGRAMS}
    readme = (CLIENTS / "README.md").read_text()
    assert all(f"| `{name}` |" in readme for name in names)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the directories of the clients that were built so far."""
    return {"": tmp_path_factory.mktemp("clients")}


def build(client: Client, built: dict[str, Path]) -> Path:
    """Build a client with the timeout of the tests, or skip the test; return the directory."""
    if missing := [tool for tool in client.tools if shutil.which(tool) is None]:
        pytest.skip(f"{client.name}: {', '.join(missing)} not installed")
    if client.name in built:
        return built[client.name]
    directory = built[""] / client.name
    directory.mkdir()
    target = copied(client.name, directory)
    (directory / client.program_name).write_text(client.program)
    if client.name.endswith(".go"):
        (directory / "events").mkdir()
        target.rename(directory / "events" / "events.go")
        (directory / "go.mod").write_text(GO_MODULE)
    if client.name.endswith(".cs"):
        (directory / "program.csproj").write_text(DOTNET_PROJECT)
    _compile(client, directory)
    built[client.name] = directory
    return directory


def _compile(client: Client, directory: Path) -> None:
    if not client.build:
        return
    done = subprocess.run(
        client.build,
        cwd=directory,
        env={**os.environ, **BUILD_ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def send(client: Client, directory: Path, environ: Mapping[str, str], lines: Sequence[str]) -> list[str]:
    """Run the program of a client; return its output, one line for each event."""
    done = subprocess.run(
        [*client.command, *lines],
        cwd=directory,
        env={**os.environ, "LC_ALL": "C.UTF-8", "http_proxy": "http://127.0.0.1:1", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("by_file", [False, True], ids=["configured port", "other port"])
@pytest.mark.parametrize("client", CLIENTS_BY_TIME)
async def test_client_sends_events_that_are_stored_once(
    client: Client, built: dict[str, Path], tmp_path: Path, *, by_file: bool
) -> None:
    """Text is kept exactly, the proxy of the environment is not used, and the result is that of the response."""
    directory = build(client, built)
    with socket.create_server(("0.0.0.0", 0)) as taken:
        settings = {
            "LOGFERRY_DESTINATION": f"file://{tmp_path}/out",
            "LOGFERRY_SPOOL_DIR": str(tmp_path / "spool"),
            "LOGFERRY_EVENTS": "true",
            "LOGFERRY_FLUSH": "invocation",
        }
        if by_file:
            settings["LOGFERRY_PORT"] = str(taken.getsockname()[1])
        async with BareLambda(settings) as platform:
            await platform.start()
            environ = settings if by_file else {**settings, "LOGFERRY_PORT": str(platform.port)}
            held = asyncio.create_task(platform.hand_out(invoke_event("r1", seconds=60)))
            await platform.deliver(batch(start("r1")))
            results = await asyncio.to_thread(send, client, directory, environ, [*LINES, '{"neither":1}'])
            assert results == ["true", "true", "false"]
            await platform.deliver(batch(runtime_done("r1"), report_of("r1")))
            await held
            await platform.shutdown()
    stored = [each for each in records_of(arrived_in(tmp_path / "out")) if each["type"] in SENT]
    assert [each["record"] for each in stored] == list(EVENTS)
    assert {each["requestId"] for each in stored} == {"r1"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("server", ["absent", "hangs"])
@pytest.mark.parametrize("client", CLIENTS_BY_TIME)
def test_client_returns_false_without_an_answer(
    client: Client, built: dict[str, Path], tmp_path: Path, server: str
) -> None:
    """Without logferry, or if it does not respond, the function goes on after the timeout, without an exception."""
    directory = build(client, built)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        if server == "absent":
            sock.close()
        environ = {"LOGFERRY_SPOOL_DIR": str(tmp_path), "LOGFERRY_PORT": str(port)}
        short = _with_short_timeout(client, directory, tmp_path) if server == "hangs" else directory
        began = time.monotonic()
        assert send(client, short, environ, LINES[:1]) == ["false"]
        assert time.monotonic() - began < 15


@pytest.mark.timeout(300)
@pytest.mark.parametrize("client", CLIENTS_BY_TIME)
def test_client_returns_false_with_an_invalid_port(client: Client, built: dict[str, Path], tmp_path: Path) -> None:
    """A misspelt setting disables logferry, and raises no exception in the function."""
    directory = build(client, built)
    for port in ("abc", "99999", "95 13"):
        environ = {"LOGFERRY_SPOOL_DIR": str(tmp_path), "LOGFERRY_PORT": port}
        assert send(client, directory, environ, LINES[:2]) == ["false", "false"], port


def _with_short_timeout(client: Client, directory: Path, tmp_path: Path) -> Path:
    """Return a copy of a built client with the timeout of the original file, which has to be built again."""
    target = tmp_path / "short"
    shutil.copytree(directory, target)
    source = target / ("events/events.go" if client.name.endswith(".go") else client.name)
    shutil.copy(CLIENTS / client.name, source)
    _compile(client, target)
    return target


async def test_command_in_the_readme_stores_its_two_lines(tmp_path: Path) -> None:
    """The README shows the command and the stored lines."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    readme = (CLIENTS.parents[1] / "README.md").read_text()
    (command,) = re.findall(r"^```\n(curl -m 0\.5 .*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    settings = {
        "LOGFERRY_DESTINATION": f"file://{tmp_path}/out",
        "LOGFERRY_SPOOL_DIR": str(tmp_path / "spool"),
        "LOGFERRY_EVENTS": "true",
    }
    async with BareLambda(settings) as platform:
        await platform.start()
        command = command.replace("9513", str(platform.port)).replace("-m 0.5", "-m 20 --fail --noproxy '*'")
        await asyncio.to_thread(subprocess.run, ["sh", "-c", command], check=True, timeout=30)
        await platform.shutdown()
    stored = [each for each in records_of(arrived_in(tmp_path / "out")) if each["type"] in SENT]
    shown = [json.loads(line) for line in readme.splitlines() if line.startswith('{"time":') and '"logferry.' in line]
    shown = [line for line in shown if line["type"] in SENT - {CALL}]
    assert [line["type"] for line in shown] == [each["type"] for each in stored]
    assert [json.loads(line["record"]) for line in shown] == [
        {key: value for key, value in each["record"].items() if key != "phase"} for each in stored
    ]
