"""The Node.js hook with faults: an exception at each statement, and objects of the function that throw."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.node_hook import HOOK, hooked, output_of
from support.npm_packages import FETCH_SECONDS, node, other_node

if TYPE_CHECKING:
    from support.python_hook import PipeReader

PROGRAM = Path(__file__).parents[1] / "support/sabotage_node_hook.cjs"
NEWEST = "24.4.1"
REACHED_SHARE = 0.85
"""Minimum share of the statements that the calls execute. The others concern pipes and versions without calls."""


def sabotaged(program: str, spool: Path, folder: Path, *arguments: str) -> dict[str, Any]:
    """Run the variants of the hook, and return the result of the program."""
    settings = {
        "LOGFERRY_CALLS_URL": "query",
        "LOGFERRY_CALLS_HEADERS": ",".join(f"x-{number}" for number in range(30)),
        "LOGFERRY_CALLS_IGNORE": "*.ignored.example",
    }
    variables = hooked(spool, settings) | {"NODE_OPTIONS": "--max-http-header-size=65536", "PATH": os.environ["PATH"]}
    words = [program, str(PROGRAM), str(HOOK), str(folder), str(spool / "events"), *arguments]
    done = subprocess.run(words, env=variables, capture_output=True, text=True, timeout=240, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.slow
@pytest.mark.timeout(FETCH_SECONDS + 240)
@pytest.mark.usefixtures("pipe")
def test_an_exception_at_any_statement_changes_no_response(spool: Path, tmp_path: Path) -> None:
    """Responses and errors equal those without the hook, whichever statement throws."""
    result = sabotaged(other_node(NEWEST), spool, tmp_path)
    assert result["different"] == []
    assert result["count"] > 150
    assert len(result["unreached"]) < (1 - REACHED_SHARE) * result["count"], result["unreached"]


@pytest.mark.usefixtures("pipe")
def test_an_exception_at_some_statement_changes_no_response(spool: Path, tmp_path: Path) -> None:
    """The same for a random part of the statements, with Node.js of this machine."""
    step, seed = 12, random.randrange(12)  # noqa: S311 - selects statements
    print(f"seed {seed}")
    result = sabotaged(node(), spool, tmp_path, str(step), str(seed))
    assert result["different"] == []
    assert result["count"] > 10


def test_a_request_that_throws_costs_one_line(pipe: PipeReader, spool: Path) -> None:
    """An object of the function can throw at any access. The next line reports the loss and the error's class."""
    code = """
    const http = require("http");
    const server = http.createServer((request, response) => response.end("x")).listen(0, "127.0.0.1", async () => {
      const get = (change) => new Promise((end) => {
        const options = { port: server.address().port, agent: false };
        const request = http.get(options, (response) => response.resume().on("end", end));
        if (change) request.getHeader = () => { throw new RangeError("of the function"); };
      });
      await get(true);
      await get(true);
      await get(false);
      await get(false);
      server.close();
      console.log("ended");
    });
    """
    assert output_of(code, hooked(spool)) == "ended\n"
    after, last = pipe.calls()
    assert (after["lost"], after["hookError"]) == (2, "RangeError")
    assert "lost" not in last
    assert "hookError" not in last


def test_an_invoke_store_that_throws_costs_one_line(pipe: PipeReader, spool: Path) -> None:
    """The runtime may change its invoke store. The calls of the function go on."""
    code = """
    globalThis.awslambda = { get InvokeStore() { throw new Error("changed"); } };
    const http = require("http");
    const server = http.createServer((request, response) => response.end("x")).listen(0, "127.0.0.1", () => {
      http.get({ port: server.address().port }, (response) => response.resume().on("end", () => {
        console.log(response.statusCode);
        server.close();
        server.closeAllConnections();
      }));
    });
    """
    assert output_of(code, hooked(spool)) == "200\n"
    assert pipe.lines() == []
