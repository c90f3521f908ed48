"""TLS context of a host: which certificate authorities are trusted.

Guarantees:
- Certificates and host names are always verified.
- AWS_CA_BUNDLE (or REQUESTS_CA_BUNDLE) replaces every other set of authorities.
- Hosts of AWS are verified against the five roots of Amazon Trust Services. After one failure all
  authorities of the certifi or botocore bundle are trusted, so that a new root of AWS does not end
  uploads.
- A bundle that cannot be read is an error that names the variable.

Design: reading Amazon's roots takes a tenth of the CPU time of the complete bundle, in each
execution environment. The complete bundle is found by its path, because importing botocore costs
more than reading it.

References: Amazon Trust Services, "Certification authorities"; botocore, `get_cert_path`.
"""

from __future__ import annotations

import os
import ssl
import sys
from typing import TYPE_CHECKING

from logferry.errors import SinkRejected

if TYPE_CHECKING:
    from collections.abc import Mapping

AMAZON_ROOTS = os.path.join(os.path.dirname(__file__), "amazon_roots.pem")  # noqa: PTH118, PTH120 - pathlib costs 3 ms
AMAZON_HOSTS = (".amazonaws.com", ".api.aws")
"""Suffixes of the hosts that Amazon's roots are for; `api.aws` has dual-stack hosts.

Hosts in China have certificates of other authorities.
"""
BUNDLE_VARIABLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
BUNDLES = ("certifi/cacert.pem", "botocore/cacert.pem")
"""Files of the complete bundle below a directory of `sys.path`, in botocore's order."""
NAME_MISMATCH = frozenset({62, 64})
"""OpenSSL's verification errors for a certificate of another host name or IP address."""


class TlsContexts:
    """The TLS context for one host, made on first use."""

    def __init__(self, host: str, environ: Mapping[str, str]) -> None:
        self._variable = next((name for name in BUNDLE_VARIABLES if environ.get(name)), "")
        self._given = environ.get(self._variable, "")
        self._amazon_only = not self._given and host.endswith(AMAZON_HOSTS)
        self._context: ssl.SSLContext | None = None

    def current(self) -> ssl.SSLContext:
        """Return the context.

        Raises SinkRejected if its file of certificate authorities cannot be read.
        """
        if self._context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            path = self._given or (AMAZON_ROOTS if self._amazon_only else complete_bundle())
            try:
                context.load_verify_locations(path)
            except OSError as error:
                raise SinkRejected(self._unreadable(path, error)) from error
            self._context = context
        return self._context

    def widen(self, error: ssl.SSLCertVerificationError) -> bool:
        """Trust the complete bundle from now on; return False if that would not help."""
        if not self._amazon_only or error.verify_code in NAME_MISMATCH or not complete_bundle():
            return False
        self._amazon_only, self._context = False, None
        return True

    def _unreadable(self, path: str, error: OSError) -> str:
        reason = error.strerror or str(error)
        if self._given:
            return f"{self._variable}={self._given} cannot be read: {reason}; correct or unset {self._variable}"
        if not path:
            return "no bundle of certificate authorities is installed; set AWS_CA_BUNDLE to the path of one"
        return f"the certificate authorities in {path} cannot be read: {reason}; set AWS_CA_BUNDLE"


def is_bundle_given(environ: Mapping[str, str]) -> bool:
    """Return whether a variable names a bundle of certificate authorities."""
    return any(environ.get(name) for name in BUNDLE_VARIABLES)


def complete_bundle() -> str:
    """Return the path of the certifi or botocore bundle, or an empty string."""
    for name in BUNDLES:
        for folder in sys.path:
            path = f"{folder}/{name}"
            if os.path.isfile(path):  # noqa: PTH113 - pathlib costs 3 ms
                return path
    return ""
