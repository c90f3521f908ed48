"""Raw objects that compacted files have made redundant: which ones may be deleted. Pure.

Guarantees: an object is deletable only if all of this is true.
1. A manifest names it with its present ETag and size, and the Parquet file is the one of that manifest.
2. The manifest is older than the second grace period.
3. `faults.sql` over the rows of all manifests has no row for any environment of the partition. A gap in
   any hour, or a line fault in any other partition, therefore keeps all objects of an environment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from logferry.cli.compact.partition import Input
from logferry.cli.proof.segment_table import merged

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from logferry.cli.compact.compactor import State
    from logferry.cli.compact.partition import Partition
    from logferry.cli.proof.segment_table import Fault


@dataclass
class Deletable:
    """Objects that may be deleted, and the reason of each partition whose objects are kept."""

    objects: list[Input] = field(default_factory=list)
    kept: list[tuple[Partition, str]] = field(default_factory=list)


def deletable(state: State, partitions: Sequence[Partition], *, now: datetime, grace: timedelta) -> Deletable:
    """Return the raw objects of compacted partitions that may be deleted.

    `state` must contain the manifests of the complete destination.
    """
    with merged(state.segments()) as table:
        faults = {fault.environment: fault for fault in reversed(table.faults())}
    found = Deletable()
    for partition in partitions:
        file = state.files[partition]
        names = {each.name: each for each in file.manifest.inputs}
        raw = [each for hour, objects in state.raw.items() if partition in {hour, hour.day} for each in objects]
        present = [names[each.name] for each in raw if names.get(each.name) == Input(each.name, each.etag, each.size)]
        if not present:
            continue
        fault = next((faults[row.environment] for row in file.manifest.segments if row.environment in faults), None)
        # 1. The run before this one ended between the file and its manifest.
        if file.unfinished:
            found.kept.append((partition, "its manifest is not up to date"))
        # 2. Late objects may still come.
        elif now < file.listed.stored_at + grace:
            found.kept.append((partition, "its file is younger than the grace period of deletions"))
        # 3. The proof has a fault.
        elif fault is not None:
            found.kept.append((partition, described(fault)))
        else:
            found.objects += present
    return found


def described(fault: Fault) -> str:
    """Return a fault as a part of a sentence."""
    if fault.first_segment == fault.last_segment:
        segments = f"segment {fault.first_segment}"
    else:
        segments = f"segments {fault.first_segment} to {fault.last_segment}"
    return f"{segments} of environment {fault.environment}: {fault.fault}"
