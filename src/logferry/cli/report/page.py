"""The HTML page: template, style, script and data in one text that needs no network. Pure, except for package data.

Guarantees:
- The page can load nothing: its Content-Security-Policy allows its own style and script by their hashes only.
- Data cannot become markup: `<`, `>` and `&` in it are escaped, and the script sets texts only (Trusted Types).

References: Content Security Policy Level 3, "Hash usage"; HTML, "Restrictions for contents of script elements".
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SCRIPTS = (
    *("dom.js", "format.js", "state.js", "commands.js", "cards.js", "functions.js"),
    *("marks.js", "shapes.js", "details.js", "timeline.js", "lane_rows.js", "zoom.js", "selection.js", "pointer.js"),
    *("legend.js", "charts.js", "tables.js", "faults.js", "cost.js", "main.js"),
)
"""Parts of the script in the order of their first use."""
_PLACE = re.compile("@@([A-Z]+)@@")


def page(model: Mapping[str, Any]) -> str:
    """Return the complete page of a view model."""
    style, script = _read("report.css"), _script()
    values = {
        "POLICY": _policy(style, script),
        "TITLE": escape(f"logferry report: {model['subject']['destination']}"),
        "STYLE": style,
        "SCRIPT": script,
        "MODEL": json_in_html(model),
    }
    return _PLACE.sub(lambda found: values[found[1]], _read("report.html"))


def json_in_html(value: Any) -> str:
    """Return JSON that is safe in a script element: no text of it can end the element or begin a comment."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _policy(style: str, script: str) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src {_hash(style)}",
            f"script-src {_hash(script)}",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _script() -> str:
    """Return the parts as one function, so that the page has no global names."""
    parts = "\n".join(_read(name) for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}}})();\n'


def _read(name: str) -> str:
    return resources.files(__package__).joinpath("page", name).read_text(encoding="utf-8")
