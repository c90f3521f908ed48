"""Host, port and path of a call of a Python function: proxies, tunnels, addresses, and URLs of unusual forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.calls_server import calls_server
from support.python_hook import hooked, run_python

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.calls_server import CallsServer
    from support.python_hook import PipeReader

PREPARE = """
import asyncio, http.client, sys, urllib.request
port = int(sys.argv[1])
def attempt(function, *arguments, **options):
    try: return function(*arguments, **options)
    except Exception as error: print(type(error).__name__, file=sys.stderr)
"""


@pytest.fixture
def http(tmp_path: Path) -> Iterator[CallsServer]:
    """Serve plain HTTP, also as a proxy."""
    with calls_server(tmp_path, tls=False) as server:
        yield server


def places(
    code: str, spool: Path, pipe: PipeReader, server: CallsServer, **settings: str
) -> list[tuple[str, int, str]]:
    """Run code with the hook; return host, port and path of its calls."""
    run_python(PREPARE + code, hooked(spool, settings), str(server.port))
    return [(line["host"], line["port"], line["path"]) for line in pipe.calls()]


def test_call_through_a_proxy_has_the_host_behind_it(spool: Path, pipe: PipeReader, http: CallsServer) -> None:
    """The request line names the host behind a proxy. Its user and password are not recorded."""
    code = """
import httpx, requests, urllib3
proxy = f"http://name:word@127.0.0.1:{port}"
urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy})).open("http://api.example.com/urllib")
requests.get("http://api.example.com:8080/requests?x=1", proxies={"http": proxy})
urllib3.ProxyManager(proxy).request("GET", "http://api.example.com/urllib3")
httpx.get("http://api.example.com/httpx", proxy=proxy)
async def run():
    import aiohttp
    async with aiohttp.ClientSession() as session:
        async with session.get("http://api.example.com/aiohttp", proxy=proxy) as response: await response.read()
asyncio.run(run())
"""
    assert places(code, spool, pipe, http) == [
        ("api.example.com", 80, "/urllib"),
        ("api.example.com", 8080, "/requests"),
        ("api.example.com", 80, "/urllib3"),
        ("api.example.com", 80, "/httpx"),
        ("api.example.com", 80, "/aiohttp"),
    ]
    assert b"word" not in pipe.raw


def test_call_through_a_tunnel_has_the_host_behind_it(spool: Path, pipe: PipeReader, http: CallsServer) -> None:
    """CONNECT has no line, and the call through the tunnel has the host of the tunnel."""
    code = """
connection = http.client.HTTPConnection("127.0.0.1", port)
connection.set_tunnel("api.example.com", 8443)
connection.request("GET", "/tunnel"); connection.getresponse().read()
other = http.client.HTTPConnection("127.0.0.1", port)
other.request("CONNECT", "api.example.com:443"); other.getresponse()
"""
    assert places(code, spool, pipe, http) == [("api.example.com", 8443, "/tunnel")]


def test_addresses_and_ports(spool: Path, pipe: PipeReader, http: CallsServer) -> None:
    """An IPv6 address has no brackets, a host is in lower case, and the port is that of the scheme by default."""
    code = """
import requests, urllib3
attempt(urllib.request.urlopen, "http://[::1]:1/six")
attempt(urllib3.PoolManager().request, "GET", "http://[::1]:1/six", retries=False)
attempt(http.client.HTTPConnection("LOCALHOST", port).request, "GET", "/upper")
attempt(urllib.request.urlopen, "https://unknown.invalid/default")
attempt(requests.get, "https://unknown.invalid/default")
"""
    found = places(code, spool, pipe, http)

    assert found[:2] == [("::1", 1, "/six")] * 2
    assert found[2:] == [("unknown.invalid", 443, "/default")] * 2


def test_listener_on_another_port_is_not_recorded(spool: Path, pipe: PipeReader, http: CallsServer) -> None:
    """If the configured port was in use, a file in the spool has the URL of the listener."""
    code = 'attempt(urllib.request.urlopen, f"http://127.0.0.1:{port}/events")'
    url = spool / "events-url"
    url.write_text(f"http://127.0.0.1:{http.port}/events\n")
    assert places(code, spool, pipe, http) == []
    for invalid in ("", "\n", "x", "http://"):
        url.write_text(invalid)
        assert places(code, spool, pipe, http) == [("127.0.0.1", http.port, "/events")]


def test_paths_are_recorded_without_fragment_and_with_masked_parts(
    spool: Path, pipe: PipeReader, http: CallsServer
) -> None:
    """A part of a path is masked from 40 characters of base64 or hexadecimal digits, also if they are encoded."""
    code = """
import urllib3
pool = urllib3.PoolManager()
url = f"http://127.0.0.1:{port}"
targets = ["/short/" + "a" * 39, "/hex/" + "0f" * 20 + "/x", "/base64/" + "aB3%2F" * 13 + "%3D", "/jwt/a.b." + "c" * 43]
targets += ["/x#fragment", "*", "//double//slash", "/q?a=1&b=&c&" + "1" * 5 + "&" + "k" * 40 + "=2"]
for target in targets:
    attempt(pool.connection_from_url(url).urlopen, "GET", target, retries=False)
"""
    found = [path for _, _, path in places(code, spool, pipe, http, LOGFERRY_CALLS_URL="query")]

    assert found == [
        f"/short/{'a' * 39}",
        "/hex/***/x",
        "/base64/***",
        "/jwt/***",
        "/x",
        "*",
        "//double//slash",
        "/q?a=***&b=***&c&***&***=***",
    ]
