"""botocore's descriptions of AWS, reduced to the operations that logferry calls.

Guarantees:
- The description of S3 contains the operations in `OPERATIONS` and the shapes that they refer to.
- The endpoint rules of S3 are complete.

Design: botocore reads JSON files at run time, and a client keeps their content in memory. The
unused operations of S3 took 1.8 MB of the shipper and 2 % of the CPU time of its start. A client
does not have an operation that was removed (AttributeError), and the smoke test fails. A reduced
set of endpoint rules broke us-east-1, FIPS and dual-stack endpoints. Without the rules for ARNs
alone it is only 0.2 MB smaller.
"""

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SERVICE = "s3"

OPERATIONS = frozenset({"PutObject", "HeadBucket", "CreateSession"})
"""Operations that are called: by the sink; by botocore for the region of a bucket that S3 redirects
to; and by botocore for the session of a directory bucket (S3 Express)."""

_SHARED = ("_retry.json", "endpoints.json", "partitions.json", "sdk-default-configuration.json")
"""Files that belong to no service and that botocore reads for each client."""

_KEPT_OF_SERVICE = ("service-2", "endpoint-rule-set-1")
"""Files of a service that botocore reads. It loads paginators, waiters and examples on request
only."""


def prune(site: Path) -> None:
    """Reduce the data of botocore and boto3 in a folder of installed packages, as far as they are installed."""
    for data in (site / "botocore/data", site / "boto3/data"):
        for path in sorted(data.glob("*")):
            if path.name == SERVICE or path.name in _SHARED:
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if (site / "botocore/data").is_dir():
        _prune_service(site / "botocore/data" / SERVICE)
        _prune_endpoints(site / "botocore/data/endpoints.json")


def _prune_service(folder: Path) -> None:
    for path in sorted(folder.rglob("*.json*")):
        if path.name.split(".")[0] not in _KEPT_OF_SERVICE:
            path.unlink()
            continue
        packed = path.suffix == ".gz"
        description = json.loads(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
        if "operations" in description:
            _keep_operations(description)
        _empty_documentation(description)
        path.unlink()
        # The file is written without compression, so that reading it is one call. The zip compresses it again.
        _write(path.with_suffix("") if packed else path, description)


def _keep_operations(service: dict[str, Any]) -> None:
    """Reduce a service's description, in place, to `OPERATIONS` and the shapes that they refer to."""
    service["operations"] = {name: one for name, one in service["operations"].items() if name in OPERATIONS}
    used: set[str] = set()
    pending = set(_shapes(service["operations"]))
    while pending:
        name = pending.pop()
        used.add(name)
        pending |= set(_shapes(service["shapes"][name])) - used
    service["shapes"] = {name: shape for name, shape in service["shapes"].items() if name in used}


def _shapes(node: Any) -> Iterator[str]:
    """Yield the shapes that a part of a description refers to."""
    if isinstance(node, dict) and isinstance(node.get("shape"), str):
        yield node["shape"]
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _shapes(child)


def _empty_documentation(node: Any) -> None:
    """Empty each documentation text in place. The keys stay, because botocore reads the key of client parameters."""
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        _empty_documentation(child)
    if isinstance(node, dict) and isinstance(node.get("documentation"), str):
        node["documentation"] = ""


def _prune_endpoints(path: Path) -> None:
    """Keep each partition with its regions, and S3 as its only service."""
    endpoints = json.loads(path.read_bytes())
    for partition in endpoints["partitions"]:
        partition["services"] = {name: value for name, value in partition["services"].items() if name == SERVICE}
    _write(path, endpoints)


def _write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, separators=(",", ":"), ensure_ascii=False), encoding="utf-8")
