"""Handle of the S3 stand-in: starts it with a new certificate, controls it, and counts the stored objects."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import botocore

from benchmark.extensions import Endpoint

if TYPE_CHECKING:
    from types import TracebackType

TESTS = Path(__file__).resolve().parent.parent
START_SECONDS = 10.0
"""Maximum time for an interpreter start and a certificate, in seconds, on a busy machine."""
END_SECONDS = 5.0
USUAL_CA_BUNDLE = Path(botocore.__file__).parent / "cacert.pem"
"""CA bundle of the SDK, which clients use for other endpoints than AWS's."""
SERVICE_MS = 20.0
"""Service time of S3 for a small PUT in the same region, in milliseconds."""


@dataclass(frozen=True)
class Stored:
    """Objects, bytes and records that have been stored; records are counted by the objects' own metadata."""

    objects: int = 0
    size: int = 0
    records: int = 0


class S3:
    """The stand-in as a context manager; `endpoint` is the URL and the certificate for a client."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self.certificate = scratch / "s3.pem"
        self._key = scratch / "s3.key"
        self._stored = Stored()
        self._changed = threading.Condition()
        self._closings = 0

    def __enter__(self) -> Self:
        """Create the certificate and start the process."""
        name = ["-subj", "/CN=S3 stand-in", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
        files = ["-keyout", str(self._key), "-out", str(self.certificate)]
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        subprocess.run(["openssl", "req", "-x509", *kind, *files, *name], check=True, capture_output=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmark.s3_stub", str(self.certificate), str(self._key)],
            cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        assert self._process.stdout
        self._port = int(self._process.stdout.readline())
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        self.set_service_time(SERVICE_MS)
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        """End the process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(END_SECONDS)
        self._thread.join(END_SECONDS)
        self._process.stdout.close()

    @property
    def endpoint(self) -> Endpoint:
        """Return the endpoint by address, with a CA bundle of one certificate."""
        return Endpoint(f"https://127.0.0.1:{self._port}", self.certificate)

    @property
    def endpoint_by_name(self) -> Endpoint:
        """Return the endpoint by host name, with a CA bundle of the usual size."""
        bundle = self._scratch / "ca-bundle.pem"
        if not bundle.exists():
            bundle.write_text(USUAL_CA_BUNDLE.read_text() + self.certificate.read_text())
        return Endpoint(f"https://localhost:{self._port}", bundle)

    @property
    def pid(self) -> int:
        """Return the process ID, for CPU affinity."""
        return self._process.pid

    @property
    def stored(self) -> Stored:
        """Return the objects, bytes and records so far."""
        return self._stored

    def set_service_time(self, milliseconds: float) -> None:
        """Set the service time of each request."""
        self._order(f"delay {milliseconds:g}")

    def keep(self, folder: Path | None) -> None:
        """Keep the bodies of stored objects in a folder from now on; None ends that."""
        self._order(f"keep {folder or ''}")

    def close_connections(self) -> None:
        """Close every connection of the clients, and return when all are closed."""
        with self._changed:
            before = self._closings
            self._order("close")
            if not self._changed.wait_for(lambda: self._closings > before, END_SECONDS):
                raise TimeoutError("the S3 stand-in did not close its connections")

    def wait_for(self, records: int, seconds: float) -> Stored:
        """Wait until that many records have been stored since the start. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._stored.records >= records, seconds):
                raise TimeoutError(f"{self._stored.records} of {records} records were stored within {seconds:g} s")
            return self._stored

    def wait_for_object(self, after: Stored, seconds: float) -> Stored:
        """Wait until an object is stored in addition to those in `after`. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._stored.objects > after.objects, seconds):
                raise TimeoutError(f"no object was stored within {seconds:g} s")
            return self._stored

    def _order(self, order: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            words = line.split()
            with self._changed:
                if words[0] == "stored":
                    now = self._stored
                    self._stored = Stored(now.objects + 1, now.size + int(words[1]), now.records + int(words[2]))
                else:
                    self._closings += 1
                self._changed.notify_all()
