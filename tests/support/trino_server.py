"""A real Trino server with a Hive and an Iceberg catalog, for tests of the texts for Athena.

The server is that of the Maven artifact `io.trino:trino-server` (tar.gz, 820 MB), unpacked into the folder that the
variable TRINO_HOME names. It needs Java 24 or newer in JAVA_HOME, or in a usual folder. Without both, the tests are
skipped. Athena is based on Trino, and Trino's reader of JSON files is that of Athena's recommended SerDe.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

START_SECONDS = 240.0
QUERY_SECONDS = 120.0
POLL_SECONDS = 0.2
LEAST_JAVA = 24
PLUGINS = ("hive", "iceberg")


class TrinoServer:
    """A server with one node. Use it in an `async with` statement; `environment` has the variables of an S3 server."""

    def __init__(self, folder: Path, environment: Mapping[str, str], bucket: str) -> None:
        self._folder = folder
        self._environment = environment
        self._bucket = bucket
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        self._configure()
        home, java = home_and_java()
        assert home is not None
        assert java is not None
        classpath = f"{home}/lib/*"
        options = [line for line in (self._folder / "etc/jvm.config").read_text().splitlines() if line]
        command = [str(java), *options, f"-Dconfig={self._folder}/etc/config.properties", "-cp", classpath]
        log = (self._folder / "server.log").open("wb")
        command += ["--add-modules", "jdk.incubator.vector", "io.trino.server.TrinoServer"]
        self._process = await asyncio.to_thread(
            subprocess.Popen, command, cwd=self._folder, stdout=log, stderr=subprocess.STDOUT
        )
        log.close()
        try:
            await self._started()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    async def run(self, query: str, *, catalog: str = "hive") -> list[list[Any]]:
        """Run one statement and return its rows. Raise AssertionError with Trino's message."""
        return await asyncio.to_thread(self._run, query, catalog)

    def _run(self, query: str, catalog: str) -> list[list[Any]]:
        headers = {"X-Trino-User": "test", "X-Trino-Catalog": catalog, "X-Trino-Schema": "default"}
        url: str | None = f"http://127.0.0.1:{self.port}/v1/statement"
        body: bytes | None = query.encode()
        found: list[list[Any]] = []
        while url:
            request = urllib.request.Request(url, data=body, headers=headers)
            with urllib.request.urlopen(request, timeout=QUERY_SECONDS) as answer:  # noqa: S310 - a server on loopback
                page = json.load(answer)
            assert "error" not in page, f"{page['error'].get('message')}\n{query}"
            found += page.get("data", [])
            url, body = page.get("nextUri"), None
        return found

    async def _started(self) -> None:
        async with asyncio.timeout(START_SECONDS):
            while True:
                assert self._process is not None
                assert self._process.poll() is None, (self._folder / "server.log").read_text()[-3000:]
                with contextlib.suppress(OSError, AssertionError, ValueError):
                    if await self.run("SELECT 1") == [[1]]:
                        return
                await asyncio.sleep(POLL_SECONDS)

    def _configure(self) -> None:
        """Write the configuration: one node, two catalogs with their metadata in a folder, and S3 on loopback."""
        home, _ = home_and_java()
        etc = self._folder / "etc"
        (etc / "catalog").mkdir(parents=True)
        plugins = self._folder / "plugin"
        plugins.mkdir()
        for name in PLUGINS:
            (plugins / name).symlink_to(f"{home}/plugin/{name}")
        metadata = self._folder / "metastore"
        metadata.mkdir()
        _write(
            etc / "jvm.config", "-Xmx2G", "-XX:+UseG1GC", "-XX:TieredStopAtLevel=1", "-Djdk.attach.allowAttachSelf=true"
        )
        _write(
            etc / "config.properties",
            f"node.id=test\nnode.environment=test\nplugin.dir={plugins}",
            f"catalog.config-dir={etc}/catalog",
            f"http-server.http.port={self.port}\ndiscovery.uri=http://127.0.0.1:{self.port}",
            "coordinator=true\nnode-scheduler.include-coordinator=true\nnode.internal-address=127.0.0.1",
            "query.max-memory=1GB\nquery.max-memory-per-node=1GB\nweb-ui.enabled=false",
        )
        s3 = (
            f"fs.native-s3.enabled=true\ns3.endpoint={self._environment['AWS_ENDPOINT_URL_S3']}\ns3.path-style-access=true\n"
            f"s3.region=us-east-1\ns3.aws-access-key={self._environment['AWS_ACCESS_KEY_ID']}\n"
            f"s3.aws-secret-key={self._environment['AWS_SECRET_ACCESS_KEY']}"
        )
        catalog = f"hive.metastore.catalog.dir=s3://{self._bucket}/metastore"
        _write(
            etc / "catalog/hive.properties",
            "connector.name=hive\nhive.metastore=file\nhive.non-managed-table-writes-enabled=true",
            "hive.partition-projection-enabled=true",
            catalog,
            s3,
        )
        _write(
            etc / "catalog/iceberg.properties",
            "connector.name=iceberg\niceberg.catalog.type=TESTING_FILE_METASTORE",
            catalog.replace("metastore", "iceberg_metastore", 2).replace("hive.iceberg_metastore", "hive.metastore"),
            s3,
        )


def home_and_java() -> tuple[Path | None, Path | None]:
    """Return the folder of the server and the program of a new Java, or None for what is missing."""
    named = os.environ.get("TRINO_HOME", "")
    home = Path(named) if named and (Path(named) / "plugin/hive").is_dir() else None
    homes = [os.environ.get("JAVA_HOME", ""), *map(str, Path("/usr/lib/jvm").glob("*"))]
    programs = (Path(each, "bin/java") for each in homes if each)
    return home, next((each for each in programs if each.is_file() and _version(each) >= LEAST_JAVA), None)


def _version(java: Path) -> int:
    release = java.parents[1] / "release"
    found = re.search(r'JAVA_VERSION="(\d+)', release.read_text()) if release.is_file() else None
    return int(found[1]) if found else 0


def _write(path: Path, *lines: str) -> None:
    path.write_text("\n".join(lines) + "\n")
