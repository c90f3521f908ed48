"""Picture of the way of a record, from the function to a query engine. Pure; it needs no data."""

from __future__ import annotations

from benchmark.pictures.svg import arrow, document, line, outline, text

HEIGHT = 190
TITLE = "The way of a record"
DESCRIPTION = (
    "In the execution environment, the function prints records, and Lambda's Telemetry API sends them to logferry in "
    "batches. logferry writes each batch to the spool in /tmp and then acknowledges it. A flush uploads sealed "
    "segments to S3, one object per segment. DuckDB, Athena and Spark read the objects."
)
TOP, BOX_HEIGHT = 66, 76
MIDDLE = TOP + BOX_HEIGHT / 2


def draw() -> str:
    """Return the picture."""
    body = [
        outline(16, 16, 584, 158),
        text(30, 38, "execution environment", kind="small muted"),
        *_box(30, 118, "function", "any runtime"),
        *_box(194, 132, "Telemetry API", "Lambda"),
        outline(366, TOP - 14, 220, BOX_HEIGHT + 14),
        text(476, TOP + 5, "logferry", kind="strong", anchor="middle"),
        *_inner(380, 88, "spool", "in /tmp"),
        *_inner(496, 76, "flush", "policy"),
        *_box(658, 66, "S3", "objects"),
        *_box(752, 74, "SQL", "DuckDB …"),
        arrow(148, MIDDLE, 194, MIDDLE),
        arrow(326, MIDDLE, 380, MIDDLE),
        text(346, MIDDLE - 8, "batch", kind="small muted", anchor="middle"),
        arrow(468, MIDDLE, 496, MIDDLE),
        arrow(572, MIDDLE, 658, MIDDLE),
        text(629, MIDDLE - 8, "object", kind="small muted", anchor="middle"),
        arrow(752, MIDDLE, 724, MIDDLE),
        line(424, TOP + BOX_HEIGHT, 424, 156, kind="arrow"),
        line(424, 156, 260, 156, kind="arrow"),
        arrow(260, 156, 260, TOP + BOX_HEIGHT),
        text(342, 169, "200 after the batch is stored", kind="small muted", anchor="middle"),
    ]
    return document(height=HEIGHT, title=TITLE, description=DESCRIPTION, body=body)


def _box(x: float, width: float, name: str, detail: str) -> list[str]:
    center = x + width / 2
    return [
        outline(x, TOP, width, BOX_HEIGHT),
        text(center, MIDDLE - 2, name, kind="strong", anchor="middle"),
        text(center, MIDDLE + 16, detail, kind="small muted", anchor="middle"),
    ]


def _inner(x: float, width: float, name: str, detail: str) -> list[str]:
    top = MIDDLE - 20
    center = x + width / 2
    return [
        outline(x, top, width, 40),
        text(center, top + 17, name, kind="small strong", anchor="middle"),
        text(center, top + 32, detail, kind="small muted", anchor="middle"),
    ]
