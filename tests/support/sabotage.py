"""Copies of the Python hook that raise an exception at one statement, and calls of HTTP clients with each of them.

Executed as a script with a URL, this file prints one line for each variant whose calls differ from those without a
hook, and the number of variants. Each variant is a forked process, because importing the clients takes longer.

A statement is a point of sabotage if an exception of it must not reach the function:

1. in a function with a `try` that catches `Exception`: the statements inside this `try`;
2. in any other function: every statement;
3. not in a nested function, which replaces a method of a client and contains the original call and guarded callbacks.
"""

from __future__ import annotations

import ast
import copy
import json
import os
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

HOOK = Path(__file__).parents[2] / "extension/hooks/python"
PACKAGE = HOOK / "logferry_hook"
MODULES = ("event_pipe", "failures", "patterns", "recorder", "http_client", "urllib3_client", "async_clients")
SECRET = "5e" * 32
"""A part of a path that is masked."""
UNGUARDED = {"run_next_sitecustomize"}
"""Functions whose exceptions are those of the function's own modules."""
Body = list[ast.stmt]


def points(tree: ast.Module) -> Iterator[tuple[Body, int]]:
    """Yield each point of sabotage as a list of statements and an index."""
    for node in tree.body:
        functions = node.body if isinstance(node, ast.ClassDef) else [node]
        for function in functions:
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)) and function.name not in UNGUARDED:
                guard = next((one for one in function.body if _catches_everything(one)), None)
                yield from _points_in(guard.body if isinstance(guard, ast.Try) else function.body)


def _catches_everything(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Try):
        return False
    return any(isinstance(one.type, ast.Name) and one.type.id == "Exception" for one in statement.handlers)


def _points_in(body: Body) -> Iterator[tuple[Body, int]]:
    for index, statement in enumerate(body):
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # a docstring
        yield body, index
        for inner in ("body", "orelse", "finalbody"):
            if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from _points_in(getattr(statement, inner, []))


def variants(path: Path) -> Iterator[tuple[int, ast.Module]]:
    """Yield, for each point of a file, its line and the tree that raises an exception there."""
    tree = ast.parse(path.read_text())
    for number in range(len(list(points(tree)))):
        changed = copy.deepcopy(tree)
        body, index = list(points(changed))[number]
        line = body[index].lineno
        body.insert(index, ast.parse("raise RuntimeError('sabotage')").body[0])
        yield line, ast.fix_missing_locations(changed)


def _load(changed: dict[str, ast.Module]) -> None:
    """Execute the modules of the hook, some of them changed, as the package `logferry_hook`."""
    package = types.ModuleType("logferry_hook")
    package.__path__ = []
    sys.modules["logferry_hook"] = package
    for name in MODULES:
        module = types.ModuleType(f"logferry_hook.{name}")
        sys.modules[module.__name__] = module
        setattr(package, name, module)
        tree = changed.get(name) or ast.parse((PACKAGE / f"{name}.py").read_text())
        exec(compile(tree, f"{name}.py", "exec"), module.__dict__)  # noqa: S102 - the hook itself


def _make_calls(url: str, clients: str) -> list[Any]:
    """Make calls that succeed, fail, are redirected and are repeated, and return everything that the function sees.

    `clients` is `blocking`, `async` or `all`.
    """
    import asyncio  # noqa: PLC0415 - imported before the fork

    results: list[Any] = []

    def note(function: Any, *arguments: Any) -> None:
        try:
            results.append(function(*arguments))
        except Exception as error:  # noqa: BLE001 - its class is compared
            results.append([type(error).__name__, type(error.__cause__).__name__])

    for address in (f"{url}/status/200/{SECRET}?a=b", f"{url}/redirect", "http://127.0.0.1:1/refused"):
        if clients != "async":
            note(_read, address)
            note(_pooled, address)
        if clients != "blocking":
            note(_fetched, address)
            note(lambda address=address: asyncio.run(_awaited(address)))
    if clients != "async":
        note(_requested, f"{url}/redirect")
        note(_pooled, f"{url}/flaky/{os.getpid()}")
        note(_pooled, f"{url}/status/503")
    return results


def _read(address: str) -> list[Any]:
    import urllib.request  # noqa: PLC0415

    with urllib.request.urlopen(address, timeout=20) as response:  # noqa: S310 - an http address
        return [response.status, response.read().decode()]


def _pooled(address: str) -> list[Any]:
    import urllib3  # noqa: PLC0415

    with urllib3.PoolManager() as manager:
        response = manager.request("GET", address, retries=urllib3.Retry(2, status_forcelist=[503]))
        return [response.status, response.data.decode(), len(response.retries.history if response.retries else ())]


def _requested(address: str) -> list[Any]:
    import requests  # noqa: PLC0415

    response = requests.get(address, timeout=20)
    return [response.status_code, response.text, len(response.history)]


def _fetched(address: str) -> list[Any]:
    import httpx  # noqa: PLC0415

    with httpx.Client(verify=False, follow_redirects=True) as client:  # noqa: S501 - an http address
        response = client.get(address)
        return [response.status_code, response.text, len(response.history)]


async def _awaited(address: str) -> list[Any]:
    import aiohttp  # noqa: PLC0415
    import httpx  # noqa: PLC0415

    async with aiohttp.ClientSession() as session, session.get(address) as response:
        first = [response.status, await response.text(), len(response.history)]
    async with httpx.AsyncClient(verify=False) as client:  # noqa: S501 - an http address
        return [*first, (await client.get(address)).status_code]


def _in_child(url: str, clients: str, changed: dict[str, ast.Module] | None) -> str:
    """Return the results of a forked process as JSON. None: without the hook."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if changed is not None:
                _patch(changed)
            os.write(writer, json.dumps(_make_calls(url, clients)).encode())
        except BaseException as error:  # noqa: BLE001 - reported to the parent
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as results:
        text = results.read()
    os.waitpid(pid, 0)
    return text


def _patch(changed: dict[str, ast.Module]) -> None:
    """Patch the clients as `sitecustomize` does: an exception of this step leaves a client as it is."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    try:
        _load(changed)
    except RuntimeError:
        return
    for module, client in (
        ("http.client", "http_client"), ("urllib3.connectionpool", "urllib3_client"),
        ("httpcore", "async_clients"), ("aiohttp.client", "async_clients"),
    ):  # fmt: skip
        try:
            sys.modules[f"logferry_hook.{client}"].patch(sys.modules[module], descriptor)
        except RuntimeError:
            continue


def _main(url: str) -> None:
    expected = {clients: _in_child(url, clients, None) for clients in ("all", "blocking", "async")}
    if _in_child(url, "all", {}) != expected["all"]:
        print("the hook without sabotage differs")
    number = 0
    for name in MODULES:
        clients = "async" if name == "async_clients" else "blocking"  # both use the other modules in the same way
        for line, tree in variants(PACKAGE / f"{name}.py"):
            number += 1
            found = _in_child(url, clients, {name: tree})
            if found != expected[clients]:
                print(f"{name}.py:{line}: {found} instead of {expected[clients]}")
    print(number)


if __name__ == "__main__":
    import aiohttp  # noqa: F401 - shared by the forked processes
    import httpcore  # noqa: F401
    import httpx  # noqa: F401
    import requests  # noqa: F401

    _main(sys.argv[1])
