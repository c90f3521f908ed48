"""Pages of `logferry report` from generated objects, for the tests in a browser."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from logferry.cli.fetch.fetch import fetch
from logferry.cli.query.session import Session
from logferry.cli.report.collect import collect
from logferry.cli.report.page import page
from logferry.cli.report.view_model import Subject, view_model
from support import stored_prefix
from support.stored_functions import Fleet, store

if TYPE_CHECKING:
    from pathlib import Path

DESTINATION = "s3://my-log-bucket/logs"
LOST = "segments 4\u20135 missing"
"""Text of the planted hole."""
MADE_MS = 1_795_932_000_000
HOUR_MS = 3_600_000

SMALL = [
    Fleet("orders-api", 3, 45, gap_ms=40_000, duration_ms=45, spread_ms=HOUR_MS // 4, failed=0.05, per_object=5,
          missing={1: (4, 5)}),
    Fleet("orders-web", 2, 20, gap_ms=80_000, duration_ms=18, spread_ms=HOUR_MS // 4, per_object=4),
    Fleet("nightly-export", 1, 3, gap_ms=600_000, duration_ms=9_000, per_object=1, memory_mb=1024, open=frozenset({0})),
]  # fmt: skip
COMPLETE = [
    Fleet("orders-api", 2, 30, gap_ms=40_000, failed=0.2, per_object=5),
    Fleet("managed", 1, 40, gap_ms=300, duration_ms=900, per_object=20, concurrent=True),
]
LARGE = [
    *(Fleet(f"service-{number:03d}", 1, 2, spread_ms=HOUR_MS, failed=0.05) for number in range(399)),
    Fleet("busy", 219, 2, spread_ms=HOUR_MS),
    Fleet("busy", 1, 3, spread_ms=HOUR_MS, per_object=1, missing={0: (2,)}),
]


@dataclass(frozen=True)
class Pages:
    """Files of the pages, and what the small one contains."""

    folder: Path
    small: Path
    complete: Path
    large: Path
    planted: Path
    """Objects with one fault of each kind in its own environment, and one reported loss."""
    model: Any
    invocations: int
    destination: str = DESTINATION
    environments: int = sum(fleet.environments for fleet in SMALL)
    web_environments: int = SMALL[1].environments
    functions: int = len({fleet.name for fleet in LARGE})


def make_pages(folder: Path) -> Pages:
    """Store the objects and write the pages."""
    files = {}
    models = {}
    stored_prefix.plant(stored_prefix.write(folder / "planted", 300, lines=4))
    for name, fleets in {"small": SMALL, "complete": COMPLETE, "large": LARGE, "planted": []}.items():
        store(folder / name, fleets)
        models[name] = model_of(folder / name)
        files[name] = folder / f"{name}.html"
        files[name].write_text(page(models[name]))
    # Two removed objects had five invocations each. The report of the last one is in the next object.
    invocations = sum(fleet.environments * fleet.invocations for fleet in SMALL) - 9
    return Pages(
        folder,
        small=files["small"],
        complete=files["complete"],
        large=files["large"],
        planted=files["planted"],
        model=models["small"],
        invocations=invocations,
    )


def model_of(root: Path) -> Any:
    """Return the model of the objects below a directory, as JSON gives it."""
    with Session(fetch(f"file://{root}")) as session:
        found = collect(session)
    assert found
    return json.loads(json.dumps(view_model(Subject(DESTINATION, None, None, None, MADE_MS, "0.1.0"), found)))
