"""Compiles a tree's Python sources, each to a bytecode file beside it; run as a program by the layer's own interpreter.

    python -S -s -B -X no_debug_ranges compiler.py FOLDER PLACE

FOLDER is compiled as if it stood at PLACE: its tracebacks name the files there. A source that does not compile ends it.

What is left out, since each cold start would read it and each shipper hold it: docstrings (2.1 MB of the shipper), and
the columns of expressions in tracebacks (0.3 MB; lines stay). Not `-OO`, which does the first as well: that takes out
`assert`, too, and a library shall refuse in the layer what it refuses in the tests. Annotations stay, though they are
0.4 MB: `functools.singledispatch` reads them, and whoever else does would be found at a customer's.

Only the standard library is imported here: this file is not a part of the package where it runs.
"""

import ast
import importlib.util
import marshal
import sys
from pathlib import Path

UNCHECKED_HASH = b"\x01\x00\x00\x00"
"""The flags word of a file that is valid whatever its source (PEP 552)."""

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def main(folder: Path, place: str) -> None:
    """Compile every source below a folder, in an order that is always the same."""
    for source in sorted(folder.rglob("*.py")):
        name = f"{place}/{source.relative_to(folder).as_posix()}"
        source.with_suffix(".pyc").write_bytes(compiled(source.read_bytes(), name))


def compiled(source: bytes, name: str) -> bytes:
    """Return the bytecode file of a source, named in tracebacks. Raises SyntaxError or ValueError."""
    tree = ast.parse(source, name)
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and not _is_dataclass(node):
            _silence(node)
    code = compile(tree, name, "exec", dont_inherit=True, optimize=0)
    return b"".join(
        (importlib.util.MAGIC_NUMBER, UNCHECKED_HASH, importlib.util.source_hash(source), marshal.dumps(code))
    )


def _is_dataclass(node: ast.AST) -> bool:
    """Tell whether a class keeps its docstring: where there is none, `dataclass` composes one, in all for 2 ms.

    Other decorated classes do not: a decorator in `email` takes it for granted that all have theirs, or none.
    """
    return isinstance(node, ast.ClassDef) and any("dataclass" in ast.unparse(one) for one in node.decorator_list)


def _silence(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    """Take the docstring out. Nothing may stand in its place in a module: `from __future__` must come first there."""
    if ast.get_docstring(node, clean=False) is None:
        return
    rest = node.body[1:]
    node.body = rest if rest or isinstance(node, ast.Module) else [ast.copy_location(ast.Pass(), node.body[0])]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
