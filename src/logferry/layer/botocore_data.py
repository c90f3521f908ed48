"""botocore's descriptions of AWS, cut to the one service that logferry calls.

botocore reads JSON at run time: which services a region has, how each is called. All but S3 goes, and of S3 the prose.
Every operation stays, so that what the sink may call is not decided here. The full endpoint rules stay too: a shortened
set was seen to break us-east-1, FIPS and dual-stack endpoints.
"""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

SERVICE = "s3"

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
        _silence(description)
        path.unlink()
        # Unpacked, as reading is then one call; the zip packs it again.
        _write(path.with_suffix("") if packed else path, description)


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
