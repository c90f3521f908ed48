"""Elements of the pictures as SVG text, with one style for light and dark mode. Pure."""

from __future__ import annotations

from html import escape

WIDTH = 840
"""Width of every picture, in pixels: less than the width of a README on GitHub."""
FONT = "-apple-system, BlinkMacSystemFont, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif"
COLORS = {
    "background": ("#ffffff", "#0d1117"),
    "frame": ("#d0d7de", "#30363d"),
    "text": ("#1f2328", "#e6edf3"),
    "muted": ("#59636e", "#9198a1"),
    "panel": ("#f6f8fa", "#161b22"),
    "function": ("#8c959f", "#6e7681"),
    "logferry": ("#0969da", "#4493f8"),
    "upload": ("#1a7f37", "#3fb950"),
    "billed": ("#d4a72c", "#bb8009"),
    "other": ("#bc4c00", "#f0883e"),
    "third": ("#8250df", "#ab7df8"),
    "fourth": ("#bf3989", "#f778ba"),
    "fifth": ("#9a6700", "#d29922"),
}
"""Light and dark value of each color, with the names that the pictures use as classes."""


def document(*, height: int, title: str, description: str, body: list[str]) -> str:
    """Return a picture with its frame, title and description."""
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title description">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="description">{escape(description)}</desc>',
        f"<style>\n{_style()}\n</style>",
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6" class="card"/>',
        *body,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def text(x: float, y: float, content: str, *, kind: str = "", anchor: str = "start") -> str:
    """Return a line of text; `kind` has the classes `small`, `strong` and the name of a color."""
    classes = f' class="{kind}"' if kind else ""
    return f'<text x="{_number(x)}" y="{_number(y)}"{classes} text-anchor="{anchor}">{escape(content)}</text>'


def rect(x: float, y: float, width: float, height: float, *, color: str, radius: float = 2) -> str:
    """Return a filled rectangle."""
    box = f'x="{_number(x)}" y="{_number(y)}" width="{_number(max(width, 0))}" height="{_number(height)}"'
    return f'<rect {box} rx="{_number(radius)}" class="{color}"/>'


def outline(x: float, y: float, width: float, height: float) -> str:
    """Return a rectangle with a border."""
    box = f'x="{_number(x)}" y="{_number(y)}" width="{_number(width)}" height="{_number(height)}"'
    return f'<rect {box} rx="6" class="box"/>'


def line(x1: float, y1: float, x2: float, y2: float, *, kind: str = "rule") -> str:
    """Return a straight line; `kind` is `rule`, `mark` or `arrow`."""
    ends = f'x1="{_number(x1)}" y1="{_number(y1)}" x2="{_number(x2)}" y2="{_number(y2)}"'
    return f'<line {ends} class="{kind}"/>'


def arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    """Return a horizontal or vertical line with a head at its end."""
    dx, dy = (x2 > x1) - (x2 < x1), (y2 > y1) - (y2 < y1)
    back_x, back_y = x2 - 7 * dx, y2 - 7 * dy
    corners = ((x2, y2), (back_x - 4 * dy, back_y - 4 * dx), (back_x + 4 * dy, back_y + 4 * dx))
    points = " ".join(f"{_number(x)},{_number(y)}" for x, y in corners)
    return f'{line(x1, y1, back_x, back_y, kind="arrow")}<polygon points="{points}" class="muted"/>'


def dot(x: float, y: float) -> str:
    """Return a small circle in the color of logferry."""
    return f'<circle cx="{_number(x)}" cy="{_number(y)}" r="4" class="logferry dot"/>'


def polyline(points: list[tuple[float, float]], *, color: str) -> str:
    """Return a line through points."""
    joined = " ".join(f"{_number(x)},{_number(y)}" for x, y in points)
    return f'<polyline points="{joined}" class="curve {color}"/>'


def _number(value: float) -> str:
    return f"{round(value, 1):g}"


def _style() -> str:
    base = [
        f"text {{ font: 13px {FONT}; }}",
        "text.small { font-size: 12px; }",
        "text.strong { font-weight: 600; }",
        ".rule, .arrow, .mark { fill: none; stroke-width: 1; }",
        ".mark { stroke-dasharray: 2 3; }",
        ".arrow { stroke-width: 1.5; }",
        ".box, .card { stroke-width: 1; }",
        ".curve { stroke-width: 2; stroke-linejoin: round; }",
    ]
    dark = " ".join(_theme(1))
    return "\n".join([*base, *_theme(0), f"@media (prefers-color-scheme: dark) {{ {dark} }}"])


def _theme(index: int) -> list[str]:
    color = {name: values[index] for name, values in COLORS.items()}
    rules = [f"text {{ fill: {color['text']}; }}"]
    rules += [f".{name} {{ fill: {value}; }}" for name, value in color.items() if name not in {"background", "frame"}]
    rules += [f".curve.{name} {{ fill: none; stroke: {value}; }}" for name, value in color.items()]
    rules += [
        f".card {{ fill: {color['background']}; stroke: {color['frame']}; }}",
        f".box {{ fill: {color['panel']}; stroke: {color['frame']}; }}",
        f".dot {{ stroke: {color['background']}; }}",
        f".rule {{ stroke: {color['frame']}; }}",
        f".arrow, .mark {{ stroke: {color['muted']}; }}",
    ]
    return rules
