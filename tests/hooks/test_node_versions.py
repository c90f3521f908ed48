"""The Node.js hook in other versions of Node.js, which npm provides as packages."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import pytest

from support.calls_server import CallsServer, calls_server
from support.node_hook import hooked, output_of
from support.npm_packages import CLIENTS, FETCH_SECONDS, modules, other_node
from support.tls_server import make_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.python_hook import PipeReader

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(FETCH_SECONDS + 60),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the packages are for x86_64"),
]

HTTP = """
const [, url, refused] = process.argv;
const { get: request } = require("http");
const get = (target) => new Promise((end) => request(target, (r) => r.resume().on("end", end)).on("error", end));
(async () => {
  await get(url + "/http");
  if (typeof fetch === "function") await (await fetch(url + "/fetch")).text();
  await get(refused);
  console.log("ended");
})();
"""
HTTP2 = """
const http2 = require("http2");
const server = http2.createServer((request, response) => response.writeHead(404).end()).listen(0, "127.0.0.1", () => {
  const request = (origin, done) => {
    const session = http2.connect(origin).on("error", () => {});
    const stream = session.request({ ":path": "/h2?key=hidden", "content-length": "0" });
    const end = () => { session.destroy(); done(); };
    stream.on("end", end).on("error", end).resume();
  };
  const origin = "http://127.0.0.1:" + server.address().port;
  request(origin, () => server.close(() => request(origin, () => console.log("ended"))));
});
"""
UNDICI = """
const [, modules, certificate, key] = process.argv;
const { Agent, request } = require("node:module").createRequire(`${modules}/index.js`)("undici");
const { readFileSync } = require("fs");
const identity = { key: readFileSync(key), cert: readFileSync(certificate) };
const { createSecureServer } = require("http2");
const server = createSecureServer(identity, (incoming, response) => response.end(incoming.httpVersion));
server.listen(0, "127.0.0.1", async () => {
  const url = `https://localhost:${server.address().port}/over-http2`;
  const { body } = await request(url, { dispatcher: new Agent({ allowH2: true }) });
  console.log(await body.text());
  process.exit();
});
"""


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[CallsServer]:
    """Serve HTTP without TLS."""
    with calls_server(tmp_path, tls=False) as server:
        yield server


def test_an_old_version_runs_the_function_without_calls(pipe: PipeReader, spool: Path, plain: CallsServer) -> None:
    """The file is valid for its parser, and one line reports the version."""
    version = "12.22.12"
    url = f"http://localhost:{plain.port}"
    assert output_of(HTTP, hooked(spool), url, "http://127.0.0.1:9/", program=other_node(version)) == "ended\n"
    (line,) = pipe.lines()
    assert line["node"] == version
    assert "call" not in line


@pytest.mark.parametrize("version", ["18.20.8", "22.17.1", "24.4.1"])
def test_a_supported_version_records_http_and_fetch(
    pipe: PipeReader, spool: Path, plain: CallsServer, version: str
) -> None:
    """Node.js 18 has no channel for failed requests of node:http."""
    url = f"http://localhost:{plain.port}"
    assert output_of(HTTP, hooked(spool), url, "http://127.0.0.1:9/", program=other_node(version)) == "ended\n"
    lines = pipe.calls()
    assert [(line["path"], line["status"]) for line in lines[:2]] == [("/http", 200), ("/fetch", 200)]
    errors = [line["error"] for line in lines[2:]]
    assert errors == ([] if version.startswith("18") else ["ECONNREFUSED"])


@pytest.mark.parametrize("version", ["22.17.1", "24.4.1"])
def test_a_new_version_records_http2(pipe: PipeReader, spool: Path, version: str) -> None:
    """HTTP/2 has channels in newer versions: one line for each stream, with its status or its error."""
    assert output_of(HTTP2, hooked(spool), program=other_node(version)) == "ended\n"
    answered, refused = pipe.calls()
    assert (answered["call"], answered["host"], answered["path"]) == ("GET", "127.0.0.1", "/h2")
    assert (answered["status"], answered["requestBytes"]) == (404, 0)
    assert refused["error"].startswith("ERR_HTTP2")
    assert refused["port"] == answered["port"]


def test_a_call_of_undici_over_http2_is_one_line(pipe: PipeReader, spool: Path, tmp_path: Path) -> None:
    """Both undici and http2 publish such a call."""
    certificate, key = make_certificate(tmp_path)
    variables = hooked(spool) | {"NODE_EXTRA_CA_CERTS": certificate}
    words = [str(modules(*CLIENTS)), certificate, key]
    assert output_of(UNDICI, variables, *words, program=other_node("24.4.1")) == "2.0\n"
    (line,) = pipe.calls()
    assert (line["path"], line["status"]) == ("/over-http2", 200)
