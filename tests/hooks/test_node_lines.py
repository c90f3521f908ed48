"""The Node.js hook: the lines that it writes, what it masks and skips, and when it stays off."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from support.calls_server import BODY, COOKIE, KEY, REQUEST_ID, CallsServer, calls_server
from support.node_hook import HOOK, hooked, output_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.python_hook import PipeReader

GET = """
const [, ...urls] = process.argv;
const get = (url) => new Promise((resolve) => {
  const client = require(url.startsWith("https:") ? "https" : "http");
  const options = { headers: { authorization: "Bearer of-the-function" } };
  client.get(url, options, (response) => response.resume().on("end", resolve)).on("error", resolve);
});
(async () => { for (const url of urls) await get(url); })();
"""
"""A script that requests each of its arguments with node:http or node:https."""
FETCH = "(async () => { for (const url of process.argv.slice(1)) await (await fetch(url)).text(); })();"
TOKEN = "c2VjcmV0LXRva2VuLXRoYXQtaXMtbm90LWZvci1sb2dz"  # noqa: S105 - planted
HEX = "0123456789abcdef" * 4


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CallsServer]:
    """Serve HTTP without TLS."""
    with calls_server(tmp_path_factory.mktemp("http"), tls=False) as server:
        yield server


def at(server: CallsServer, path: str = "/") -> str:
    """Return a URL of a server without TLS."""
    return f"http://localhost:{server.port}{path}"


def paths(lines: list[dict[str, Any]]) -> list[str]:
    """Return the paths of lines."""
    return [line["path"] for line in lines]


def test_a_call_is_one_line_with_its_place_and_its_outcome(pipe: PipeReader, spool: Path, https: CallsServer) -> None:
    """The line has method, host, port, path, status, duration and the length of the response."""
    output_of(GET, hooked(spool) | {"NODE_EXTRA_CA_CERTS": https.certificate}, f"{https.url}/status/404/x")
    (line,) = pipe.calls()
    assert line.pop("durationMs") > 0
    assert line.pop("time") > 1_700_000_000_000
    assert line.pop("pid") > 0
    assert line == {
        "call": "GET", "host": "localhost", "port": https.port, "path": "/status/404/x", "status": 404,
        "responseBytes": len(BODY), "by": "node", "n": 1,
    }  # fmt: skip


def test_fetch_writes_the_same_line(pipe: PipeReader, spool: Path, plain: CallsServer) -> None:
    """The function fetch is undici, which has other channels."""
    output_of(GET, hooked(spool), at(plain, "/a"))
    output_of(FETCH, hooked(spool), at(plain, "/a"))
    one, other = pipe.calls()
    for line in (one, other):
        for name in ("durationMs", "time", "pid"):
            assert line.pop(name) > 0
    assert one == other


def test_lines_of_a_process_are_numbered(pipe: PipeReader, spool: Path, plain: CallsServer) -> None:
    """A gap in the numbers shows lines that no reader has stored."""
    output_of(GET, hooked(spool), *[at(plain)] * 5)
    lines = pipe.calls()
    assert [line["n"] for line in lines] == [1, 2, 3, 4, 5]
    assert len({line["pid"] for line in lines}) == 1


@pytest.mark.parametrize("script", [GET, FETCH])
def test_secrets_of_a_request_are_in_no_line(pipe: PipeReader, spool: Path, plain: CallsServer, script: str) -> None:
    """Userinfo, query values, long tokens in the path and request headers are never written."""
    userinfo = "" if script == FETCH else "user:password@"  # fetch rejects such a URL
    url = f"http://{userinfo}localhost:{plain.port}/v1/{TOKEN}/{HEX}/end?key=hidden&flag&{HEX}#fragment"
    settings = {"LOGFERRY_CALLS_URL": "query", "LOGFERRY_CALLS_HEADERS": "set-cookie,x-api-key,X-Amzn-RequestId"}
    output_of(script, hooked(spool, settings), url)
    (line,) = pipe.calls()
    assert line["path"] == "/v1/***/***/end?key=***&flag&***"
    assert line["headers"] == {"x-amzn-requestid": REQUEST_ID}
    for secret in (TOKEN, HEX, "password", "hidden", "fragment", "of-the-function", COOKIE, KEY):
        assert secret.encode() not in pipe.raw


@pytest.mark.parametrize(
    ("setting", "expected"), [("host", None), ("path", "/a"), ("query", "/a?b=***&c=***"), ("nonsense", None)]
)
def test_calls_url_selects_the_recorded_part(
    pipe: PipeReader, spool: Path, plain: CallsServer, setting: str, expected: str | None
) -> None:
    """An unknown value records the least."""
    output_of(GET, hooked(spool, {"LOGFERRY_CALLS_URL": setting}), at(plain, "/a?b=1&c=2"))
    assert pipe.calls()[0].get("path") == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/" + "a" * 39, "/" + "a" * 39),
        ("/" + "a" * 40, "/***"),
        ("/x%2Fy%3D" + "b" * 38, "/***"),
        ("/bucket/" + "-_Az09+=" * 5 + "/key", "/bucket/***/key"),
        ("/6f1c9f1e-4d5a-4c55-9d4c-0a2b3c4d5e6f/x", "/6f1c9f1e-4d5a-4c55-9d4c-0a2b3c4d5e6f/x"),
        ("/eyJhbGciOi.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4.sig", "/***"),
        ("?x=1", "/?x=***"),
        ("/?=1&&" + "n" * 40 + "=1&1234567890", "/?=***&***&***=***&***"),
    ],
)
def test_path_segments_that_look_like_secrets_are_masked(
    pipe: PipeReader, spool: Path, plain: CallsServer, target: str, expected: str
) -> None:
    """A segment with 40 or more characters of base64 or hex is masked. A UUID has 36."""
    output_of(GET, hooked(spool, {"LOGFERRY_CALLS_URL": "query"}), at(plain, target))
    assert paths(pipe.calls()) == [expected]


def test_a_line_that_would_be_too_long_is_shortened(pipe: PipeReader, spool: Path, plain: CallsServer) -> None:
    """A write of more than 4,096 bytes would not be atomic. `calls` checks the length of each line."""
    url = at(plain, "/" + "/".join(["%F0%9F%98%80"] * 3) + "/0123" * 1500)
    output_of(GET, hooked(spool), url)
    (line,) = pipe.calls()
    assert len(line["path"]) == 1024
    assert line["path"].startswith("/%F0%9F%98%80/")


def test_ignored_hosts_have_no_line(pipe: PipeReader, spool: Path, plain: CallsServer) -> None:
    """A pattern is a host with `*` for any characters, and optionally a port."""
    for pattern, count in (
        ("localhost", 0), ("*", 0), ("LOCAL*", 0), ("*.example.com, local*st", 0), (f"localhost:{plain.port}", 0),
        ("localhost:1", 1), ("ocalhost", 1), ("l.calhost", 1), ("*.localhost", 1), ("(", 1),
    ):  # fmt: skip
        output_of(GET, hooked(spool, {"LOGFERRY_CALLS_IGNORE": pattern}), at(plain))
        assert len(pipe.calls()) == count, pattern


def test_own_traffic_and_metadata_have_no_line(pipe: PipeReader, spool: Path, plain: CallsServer) -> None:
    """The Runtime API, logferry's listener and link-local addresses are no calls of the function."""
    code = "require('http').get(process.argv[1], { timeout: 100 }).on('error', () => {}).on('timeout', process.exit)"
    output_of(GET, hooked(spool, {"AWS_LAMBDA_RUNTIME_API": f"localhost:{plain.port}"}), at(plain))
    output_of(GET, hooked(spool, {"LOGFERRY_PORT": str(plain.port)}), at(plain))
    output_of(code, hooked(spool), "http://169.254.169.254:1/latest")
    (spool / "events-url").write_text(f"http://127.0.0.1:{plain.port}/events\n")  # the configured port was in use
    output_of(GET, hooked(spool), at(plain))
    assert pipe.lines() == []
    (spool / "events-url").write_text("")
    output_of(GET, hooked(spool), at(plain))
    assert len(pipe.calls()) == 1


def test_a_refused_call_has_the_code_of_its_error(pipe: PipeReader, spool: Path) -> None:
    """The message of an error may contain a URL, so only code or class are written."""
    with socket.socket() as bound:  # a port at which nothing listens
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        output_of(GET, hooked(spool), f"{url}/a", "http://absent.invalid/")
        output_of("fetch(process.argv[1]).catch(() => {})", hooked(spool), url)
    refused, unknown, fetched = pipe.calls()
    assert refused["error"] == fetched["error"] == "ECONNREFUSED"
    assert unknown["error"] in ("ENOTFOUND", "EAI_AGAIN")
    assert (refused["host"], f"http://127.0.0.1:{refused['port']}") == ("127.0.0.1", url)
    assert all("status" not in line for line in (refused, unknown, fetched))


def test_host_and_port_are_those_of_the_connection(pipe: PipeReader, spool: Path, plain: CallsServer) -> None:
    """A Host header of the function, as for a virtual host, does not change them."""
    code = """
    const [, port] = process.argv;
    const { get: request } = require("http");
    const get = (options) => new Promise((end) => request({ port, ...options }, (r) => r.resume().on("end", end)));
    (async () => {
      await get({ host: "127.0.0.1", headers: { host: "other.example:99" } });
      await get({ host: "127.0.0.1", setHost: false });
      await get({ host: "127.0.0.1", path: "http://user:pw@target.example:8080/through?a=1" });
      await get({ host: "127.0.0.1", path: "https://target.example" });
    })();
    """
    output_of(code, hooked(spool), str(plain.port))
    found = [(line["host"], line["port"], line["path"]) for line in pipe.calls()]
    assert found == [
        ("127.0.0.1", plain.port, "/"),
        ("127.0.0.1", plain.port, "/"),
        ("target.example", 8080, "/through"),  # through a proxy: the place of the request, not of the proxy
        ("target.example", 443, "/"),
    ]


def test_lengths_are_those_of_the_headers(pipe: PipeReader, spool: Path, plain: CallsServer) -> None:
    """A body without Content-Length has no length in the line: the hook never reads bodies."""
    code = """
    const request = require("http").request(process.argv[1], { method: "POST", headers: { "Content-Length": 5 } });
    request.on("response", (response) => response.resume()).end("12345");
    fetch(process.argv[1], { method: "PUT", body: "123" }).then((response) => response.text());
    """
    output_of(code, hooked(spool), at(plain))
    lengths = {line["call"]: (line["requestBytes"], line.get("responseBytes")) for line in pipe.calls()}
    assert lengths["POST"] == (5, len(BODY))
    assert lengths["PUT"][0] == 3


def test_request_id_is_that_of_the_runtime(pipe: PipeReader, spool: Path, plain: CallsServer) -> None:
    """The invoke store of the runtime has the request ID; else the root of the trace is written."""
    code = """
    const get = () => new Promise((end) => require("http").get(process.argv[1], (r) => r.resume().on("end", end)));
    (async () => {
      await get();
      process.env._X_AMZN_TRACE_ID = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
      await get();
      globalThis.awslambda = { InvokeStore: { getRequestId: () => "-" } };
      await get();
      globalThis.awslambda = { InvokeStore: { getRequestId: () => "8f2d0c66-0000-4000-8000-000000000001" } };
      await get();
      globalThis.awslambda = { InvokeStore: { getRequestId: () => 'x"}' } };
      await get();
    })();
    """
    output_of(code, hooked(spool), at(plain))
    root = "1-5759e988-bd862e3fe1be46a994272793"
    found = [(line.get("requestId"), line.get("trace")) for line in pipe.calls()]
    assert found == [
        (None, None), (None, root), (None, root), ("8f2d0c66-0000-4000-8000-000000000001", None), (None, root)
    ]  # fmt: skip


def test_calls_of_worker_threads_have_the_number_of_the_thread(
    pipe: PipeReader, spool: Path, plain: CallsServer
) -> None:
    """NODE_OPTIONS applies to worker threads. Each thread numbers its own lines."""
    code = """
    const { Worker } = require("worker_threads");
    const body = "require('http').get(require('worker_threads').workerData, (r) => r.resume())";
    for (let i = 0; i < 2; i += 1) new Worker(body, { eval: true, workerData: process.argv[1] });
    """
    output_of(code, hooked(spool), at(plain))
    assert sorted((line["thread"], line["n"]) for line in pipe.calls()) == [(1, 1), (2, 1)]


def test_calls_of_es_modules_have_lines(pipe: PipeReader, spool: Path, plain: CallsServer, tmp_path: Path) -> None:
    """Channels are found by name, so ES modules and bundles need no loader."""
    (tmp_path / "index.mjs").write_text(
        "import { get } from 'node:http'; import process from 'node:process';\n"
        "get(process.argv[2], (response) => response.resume());\n"
    )
    code = "import(process.argv[1] + '/index.mjs')"
    output_of(code, hooked(spool), str(tmp_path), at(plain))
    assert len(pipe.calls()) == 1


def test_child_processes_have_their_own_numbers(pipe: PipeReader, spool: Path, plain: CallsServer) -> None:
    """A child inherits NODE_OPTIONS, and opens the pipe itself."""
    code = """
    const [, url] = process.argv;
    const script = "require('http').get(process.argv[1], (r) => r.resume())";
    require("child_process").execFileSync(process.execPath, ["-e", script, url]);
    require("http").get(url, (response) => response.resume());
    """
    output_of(code, hooked(spool), at(plain))
    one, other = pipe.calls()
    assert one["pid"] != other["pid"]
    assert (one["n"], other["n"]) == (1, 1)


def test_lines_that_do_not_fit_are_counted_in_the_next_one(pipe: PipeReader, spool: Path, plain: CallsServer) -> None:
    """A full pipe never delays the function. The next line that fits has the number of lost ones."""
    code = """
    const [, url, filler] = process.argv;
    const fs = require("fs");
    const get = () => new Promise((end) => require("http").get(url, (r) => r.resume().on("end", end)));
    (async () => {
      await get();
      const { O_RDWR, O_NONBLOCK } = fs.constants;
      const pipe = fs.openSync(process.env.LOGFERRY_SPOOL_DIR + "/events", O_RDWR | O_NONBLOCK);
      try { for (;;) fs.writeSync(pipe, filler); } catch (error) { if (error.code !== "EAGAIN") throw error; }
      for (let i = 0; i < 3; i += 1) await get();
      const buffer = Buffer.alloc(65536);
      try { for (;;) fs.readSync(pipe, buffer); } catch (error) { if (error.code !== "EAGAIN") throw error; }
      await new Promise((end) => setTimeout(end, 50)); // the hook pauses after a full pipe
      await get(); await get();
    })();
    """
    output_of(code, hooked(spool), at(plain), "x" * 4095 + "\n")
    one, other = pipe.calls()
    assert (one["n"], one["lost"]) == (2, 3)
    assert (other["n"], other.get("lost")) == (3, None)


def test_hook_ends_after_the_extension_has_closed_the_pipe(spool: Path, plain: CallsServer, tmp_path: Path) -> None:
    """An extension that becomes idle closes the pipe. The hook then removes its subscriptions and its descriptor."""
    spool.mkdir()
    os.mkfifo(spool / "events", 0o600)
    extension = tmp_path / "extension.cjs"
    extension.write_text(
        f"const {{ openSync, constants }} = require('fs'); const path = {json.dumps(str(spool / 'events'))};\n"
        "globalThis.reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);"
    )
    code = """
    const fs = require("fs");
    const target = (name) => { try { return fs.readlinkSync("/proc/self/fd/" + name); } catch { return ""; } };
    const open = () => fs.readdirSync("/proc/self/fd").filter((name) => target(name).endsWith("/events")).length;
    const subscribed = () => require("diagnostics_channel").hasSubscribers("http.client.response.finish");
    const get = () => new Promise((end) => require("http").get(process.argv[1], (r) => r.resume().on("end", end)));
    (async () => {
      const before = [open(), subscribed()];
      fs.closeSync(globalThis.reader);
      await get();
      await get();
      console.log(JSON.stringify([before, [open(), subscribed()]]));
    })();
    """
    variables = hooked(spool) | {"NODE_OPTIONS": f"--require {extension} --require {HOOK}"}
    assert json.loads(output_of(code, variables, at(plain))) == [[2, True], [0, False]]


STATE = """
const subscribed = require("diagnostics_channel").hasSubscribers("http.client.response.finish");
console.log(JSON.stringify([subscribed, require("fs").readdirSync("/proc/self/fd").length]));
"""


@pytest.mark.parametrize(
    "place", ["nothing", "file", "directory", "link to a file", "link to a pipe", "pipe without a reader"]
)
def test_hook_stays_off_without_the_pipe_of_the_extension(spool: Path, tmp_path: Path, place: str) -> None:
    """Another file at the path is not written, and no descriptor stays open."""
    spool.mkdir()
    events, other = spool / "events", tmp_path / "other"
    other.write_text("")
    reader = -1
    match place:
        case "file":
            events.write_text("")
        case "directory":
            events.mkdir()
        case "link to a file":
            events.symlink_to(other)
        case "link to a pipe":
            os.mkfifo(tmp_path / "pipe", 0o600)
            reader = os.open(tmp_path / "pipe", os.O_RDWR)
            events.symlink_to(tmp_path / "pipe")
        case "pipe without a reader":
            os.mkfifo(events, 0o600)
    plain = output_of(STATE, {})
    assert output_of(STATE, hooked(spool)) == plain
    assert json.loads(plain)[0] is False
    assert other.read_text() == ""
    if reader >= 0:
        os.close(reader)


@pytest.mark.parametrize("mode", ["", "off", "OFF", "maybe"])
def test_hook_stays_off_unless_calls_are_wanted(pipe: PipeReader, spool: Path, mode: str) -> None:
    """The hook then opens no file."""
    assert output_of(STATE, hooked(spool, {"LOGFERRY_CALLS": mode})) == output_of(STATE, {})
    assert pipe.lines() == []


@pytest.mark.parametrize("mode", ["summary", " Each "])
def test_both_modes_write_the_same_lines(pipe: PipeReader, spool: Path, plain: CallsServer, mode: str) -> None:
    """The extension decides which lines are stored one by one."""
    output_of(GET, hooked(spool, {"LOGFERRY_CALLS": mode}), at(plain))
    assert len(pipe.calls()) == 1


@pytest.mark.parametrize("version", ["16.20.2", "18.18.9", "19.9.0", "unknown"])
def test_an_unsupported_version_is_reported_once(pipe: PipeReader, spool: Path, tmp_path: Path, version: str) -> None:
    """Before 18.19 a channel could be collected with its subscribers. The line has the version, stderr has nothing."""
    fake = tmp_path / "fake.cjs"
    fake.write_text(f"Object.defineProperty(process.versions, 'node', {{ value: {json.dumps(version)} }});")
    variables = hooked(spool) | {"NODE_OPTIONS": f"--require {fake} --require {HOOK}"}
    assert json.loads(output_of(STATE, variables))[0] is False
    (line,) = pipe.lines()
    assert line["event"] == "HTTP calls are not recorded: Node.js 18.19 or newer is required"
    assert line["node"] == version


def test_hook_leaves_no_trace_on_requests_and_globals(pipe: PipeReader, spool: Path, plain: CallsServer) -> None:
    """No listener, header, property or global is added, and no function is replaced."""
    code = """
    const http = require("http");
    const shown = (object) => Reflect.ownKeys(object).map(String).sort();
    const request = http.get(process.argv[1], (response) => {
      response.resume().on("end", () => console.log(JSON.stringify([
        shown(request), shown(response), request.eventNames().map(String), response.eventNames().map(String),
        request.getHeaders(), Object.keys(globalThis), http.get.toString().length, fetch.toString().length,
        Object.keys(require.cache).length, process.listenerCount("exit"),
      ])));
    });
    """
    hooked_shape = json.loads(output_of(code, hooked(spool), at(plain)))
    plain_shape = json.loads(output_of(code, {}, at(plain)))
    assert hooked_shape.pop(8) == plain_shape.pop(8) + 1  # the module of the hook itself
    assert hooked_shape == plain_shape
    assert len(pipe.calls()) == 1
