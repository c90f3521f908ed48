"""Picture of `logferry report`: the page of generated records in a browser, without the part below the time line.

The records are generated, because a run of an hour would take an hour. Objects, page and picture are made by the same
code as for a user.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from logferry.cli.report.page import page
from support.browser import OpenPage, chromium
from support.report_pages import model_of
from support.stored_functions import Fleet, store

WIDTH = 1160
"""Width of the window in pixels. A README shows about 840 of them."""
HOUR_MS = 3_600_000
FLEETS = [
    Fleet("orders-api", 4, 90, gap_ms=25_000, duration_ms=45, spread_ms=HOUR_MS // 2, failed=0.03, per_object=9,
          missing={2: (4, 5)}),
    Fleet("orders-web", 2, 40, gap_ms=55_000, duration_ms=18, spread_ms=HOUR_MS // 2, failed=0.01, per_object=5),
    Fleet("nightly-export", 1, 3, gap_ms=600_000, duration_ms=9_000, per_object=1, memory_mb=1024, open=frozenset({0})),
    Fleet("image-resize", 2, 30, gap_ms=90_000, duration_ms=420, spread_ms=HOUR_MS // 2, failed=0.05, per_object=6,
          memory_mb=1024, error=("failure", "Runtime.OutOfMemory")),
]  # fmt: skip


def photograph(file: Path) -> None:
    """Write the picture as PNG."""
    with TemporaryDirectory(prefix="pictures-") as folder:
        root = Path(folder)
        store(root / "objects", FLEETS)
        (root / "report.html").write_text(page(model_of(root / "objects")))
        with chromium() as browser:
            opened = OpenPage(browser, width=WIDTH)
            shown = opened.open(root / "report.html")
            end = shown.locator("#plot").bounding_box()
            assert end
            shown.screenshot(
                path=file,
                clip={"x": 0, "y": 0, "width": WIDTH, "height": end["y"] + end["height"] + 24},
                full_page=True,
            )
            opened.check()
            opened.close()
