"""botocore's descriptions of AWS, cut to what logferry calls.

botocore reads JSON at run time, and a client holds what was read: which services a region has, how each operation is
called. All but S3 goes; of S3 the prose, and the operations that are never called, which were 1.8 MB of the shipper and
2 % of the CPU of its start. Who calls another operation adds it to `OPERATIONS`; until then a client does not know it
(AttributeError), and the rehearsal of the tree fails. The full endpoint rules stay: a shortened set was seen to break
us-east-1, FIPS and dual-stack endpoints, and without the rules for ARNs it is only 0.2 MB less.
"""

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SERVICE = "s3"

OPERATIONS = frozenset({"PutObject", "HeadBucket", "CreateSession"})
"""Called by the sink; by botocore to learn the region of a bucket that S3 redirects from; by botocore for the session
of a directory bucket (S3 Express)."""

_SHARED = ("_retry.json", "endpoints.json", "partitions.json", "sdk-default-configuration.json")
"""Files beside the services that botocore reads whenever a client is made."""

_KEPT_OF_SERVICE = ("service-2", "endpoint-rule-set-1")
"""Paginators, waiters and examples are loaded on request only; nothing requests them."""


def prune(site: Path) -> None:
    """Cut the data of botocore and boto3 in a folder of installed packages."""
    for data in (site / "botocore/data", site / "boto3/data"):
        for path in sorted(data.glob("*")):
            if path.name == SERVICE or path.name in _SHARED:
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()
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
        _silence(description)
        path.unlink()
        # Unpacked, as reading is then one call; the zip packs it again.
        _write(path.with_suffix("") if packed else path, description)


def _keep_operations(service: dict[str, Any]) -> None:
    """Cut a service's description to `OPERATIONS` and the shapes that these speak of. In place."""
    service["operations"] = {name: one for name, one in service["operations"].items() if name in OPERATIONS}
    spoken_of: set[str] = set()
    waiting = set(_shapes(service["operations"]))
    while waiting:
        name = waiting.pop()
        spoken_of.add(name)
        waiting |= set(_shapes(service["shapes"][name])) - spoken_of
    service["shapes"] = {name: shape for name, shape in service["shapes"].items() if name in spoken_of}


def _shapes(node: Any) -> Iterator[str]:
    """Yield the shapes that a part of a description refers to."""
    if isinstance(node, dict) and isinstance(node.get("shape"), str):
        yield node["shape"]
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _shapes(child)


def _silence(node: Any) -> None:
    """Empty every documentation text in place. Emptied, not removed: botocore asks for the key of client parameters."""
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        _silence(child)
    if isinstance(node, dict) and isinstance(node.get("documentation"), str):
        node["documentation"] = ""


def _prune_endpoints(path: Path) -> None:
    """Keep each partition with its regions, and of its services S3."""
    endpoints = json.loads(path.read_bytes())
    for partition in endpoints["partitions"]:
        partition["services"] = {name: value for name, value in partition["services"].items() if name == SERVICE}
    _write(path, endpoints)


def _write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, separators=(",", ":"), ensure_ascii=False), encoding="utf-8")
