"""Program that compiles the Python sources of a tree; the layer's interpreter runs it.

    python -S -s -B -X no_debug_ranges compiler.py FOLDER PLACE [cache]

Guarantees:
- Each source in FOLDER gets a bytecode file in the same folder; with `cache`, in its folder `__pycache__`. Tracebacks
  name the file at PLACE.
- A source that does not compile ends the program with a traceback.
- The bytecode has no docstrings and no columns of expressions. Lines, assertions and annotations
  stay.
- The program imports only the standard library, because it runs outside the package, and its syntax is that of
  Python 3.9, which compiles the hook.

Design: each cold start reads the bytecode, and each shipper keeps it in memory. Docstrings took 2.1
MB of the shipper, columns 0.3 MB. The option `-OO` removes docstrings too, but also every `assert`,
and libraries must reject in the layer what they reject in the tests. Annotations take 0.4 MB and
stay, because `functools.singledispatch` reads them.
"""

from __future__ import annotations

import ast
import importlib.util
import marshal
import sys
from pathlib import Path

UNCHECKED_HASH = b"\x01\x00\x00\x00"
"""Flags word of a bytecode file that is valid without regard to its source (PEP 552)."""

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def main(folder: Path, place: str, *, cache: bool = False) -> None:
    """Compile every source below a folder, in sorted order. `cache`: other versions of Python use the sources."""
    for source in sorted(folder.rglob("*.py")):
        name = f"{place}/{source.relative_to(folder).as_posix()}"
        target = Path(importlib.util.cache_from_source(str(source))) if cache else source.with_suffix(".pyc")
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(compiled(source.read_bytes(), name))


def compiled(source: bytes, name: str) -> bytes:
    """Return the bytecode file of a source; `name` appears in tracebacks. Raises SyntaxError or ValueError."""
    tree = ast.parse(source, name)
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and not _is_dataclass(node):
            _remove_docstring(node)
    code = compile(tree, name, "exec", dont_inherit=True, optimize=0)
    return b"".join(
        (importlib.util.MAGIC_NUMBER, UNCHECKED_HASH, importlib.util.source_hash(source), marshal.dumps(code))
    )


def _is_dataclass(node: ast.AST) -> bool:
    """Return whether a node is a data class. It keeps its docstring, because `dataclass` would compose one at run time.

    That takes 2 ms for all classes. Other decorated classes do not keep theirs, because a decorator
    in `email` requires that either all classes have a docstring or none has.
    """
    return isinstance(node, ast.ClassDef) and any("dataclass" in ast.unparse(one) for one in node.decorator_list)


def _remove_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    """Remove the docstring in place. A module gets no `pass` instead, because `from __future__` must come first."""
    if ast.get_docstring(node, clean=False) is None:
        return
    rest = node.body[1:]
    node.body = rest if rest or isinstance(node, ast.Module) else [ast.copy_location(ast.Pass(), node.body[0])]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], cache=sys.argv[3:] == ["cache"])
