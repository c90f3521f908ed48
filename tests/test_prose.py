"""The countable part of the prose rules: a list of words, the length of sentences, and complete phrases.

Docstrings, comments, messages and documents use plain technical English. A component is the subject of a sentence, and
processes neither speak nor believe. This test holds what can be counted.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ("src", "tests", "extension") for path in (ROOT / folder).rglob("*.py"))
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "src/**/*.md", "tests/**/*.md", "config/**/*.md", "config/**/*.env", "config/**/*.tf")
    for path in ROOT.glob(pattern)
)
LONGEST_SENTENCE = 30
"""Words. The rule is 25; five more allow for identifiers and numbers."""

WORDS = re.compile(
    r"\b(?:says?|said|tells?|told|whoever|whom|nobody|anybody|somebody|believe[ds]?|dear|heeds?|heard|for ever|"
    r"in silence|its word|hung up|of its own|ahead of|mended|owes?|gives? way|takes? down|"
    r"beside|what waits|lives? on)\b",
    re.IGNORECASE,
)
"""Words of the dialect that plain technical English does not need."""
FRAGMENT = re.compile(r"(?:Of|What|Who|Whoever|Nobody|Nothing|Whom)\b")
"""First word of a docstring that has no component as its subject."""
ALLOWED_IN = {"tests/test_prose.py"}


def docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Return each docstring of a module, class, function or attribute with its line number."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        for statement in body:
            if (
                isinstance(statement, ast.Expr)
                and isinstance(statement.value, ast.Constant)
                and isinstance(statement.value.value, str)
            ):
                yield statement.lineno, statement.value.value


def comments(text: str) -> Iterator[tuple[int, str]]:
    """Return each run of comment lines as one text; directives such as `noqa` end at their reason."""
    lines: list[str] = []
    start = last = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = re.sub(r"^#:?\s?(?:(?:noqa|type|ruff|fmt|pragma)\b[^-]*-?)?", "", token.string)
        if lines and token.start[0] != last + 1:
            yield start, "\n".join(lines)
            lines = []
        start = start if lines else token.start[0]
        last = token.start[0]
        lines.append(line)
    if lines:
        yield start, "\n".join(lines)


def sentences(text: str) -> Iterator[str]:
    """Return the sentences of a text: paragraphs and list items, without code blocks and tables."""
    text = re.sub(r"```.*?```", "\n\n", text, flags=re.DOTALL)
    text = re.sub(r"(?m)^(?: {4,}|\|).*$", "\n", text) if "\n" in text else text
    text = re.sub(r"`[^`]*`|https?://\S+", "code", text)
    for paragraph in re.split(r"\n\s*\n|\n\s*(?:[-*]|\d+\.)\s|^\s*[-*]\s|^#+\s", text, flags=re.MULTILINE):
        yield from re.split(r"(?<=[.!?;:])\s+", paragraph)


def faults(text: str) -> Iterator[str]:
    """Return every fault of a text."""
    bare = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    bare = re.sub(r"`[^`]*`", "code", bare)
    for found in WORDS.finditer(bare):
        context = " ".join(bare[max(0, found.start() - 30) : found.end() + 30].split())
        yield f"{found[0]!r} in: … {context} …"
    for sentence in sentences(text):
        words = re.findall(r"[A-Za-z][\w'.-]*", sentence)
        if len(words) > LONGEST_SENTENCE:
            yield f"{len(words)} words: {' '.join(sentence.split())[:120]} …"


def faults_of_source(path: Path) -> Iterator[str]:
    """Return the faults of a Python file: docstrings, comments, and the sentences in its string literals."""
    text = path.read_text()
    tree = ast.parse(text)
    where = path.relative_to(ROOT).as_posix()
    documented = set()
    for line, docstring in docstrings(tree):
        documented.add(line)
        for fault in faults(docstring):
            yield f"{where}:{line}: {fault}"
        if FRAGMENT.match(docstring.strip()):
            yield f"{where}:{line}: begins with a fragment: {docstring.strip()[:60]}"
    for line, comment in comments(text):
        for fault in faults(comment):
            yield f"{where}:{line}: {fault}"
    if where.startswith("src/"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.lineno not in documented:
                for found in WORDS.finditer(node.value):
                    yield f"{where}:{node.lineno}: {found[0]!r} in a message: {node.value[:80]!r}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_source_uses_plain_technical_english(path: Path) -> None:
    """Docstrings, comments and messages keep the word list, the sentence length and complete phrases."""
    if path.relative_to(ROOT).as_posix() not in ALLOWED_IN:
        assert not list(faults_of_source(path))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_document_uses_plain_technical_english(path: Path) -> None:
    """Documents keep the same word list and sentence length."""
    assert not list(faults(path.read_text()))


@pytest.mark.parametrize(
    "text",
    [
        "The process believes its peer.",
        "It waits for ever.",
        " ".join(["word"] * (LONGEST_SENTENCE + 1)),
    ],
)
def test_the_check_finds_a_planted_fault(text: str) -> None:
    """A check that finds nothing in a bad text would hold nothing."""
    assert list(faults(text))
