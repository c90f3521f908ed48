"""The interface of a source of credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from logferry.aws.sigv4 import Credentials


class CredentialProvider(Protocol):
    """A source of credentials for requests."""

    async def get(self) -> Credentials:
        """Return valid credentials. Raises SinkUnavailable or SinkRejected with the cause."""

    def expire(self, rejected: Credentials) -> None:
        """Renew credentials that the service has rejected as expired."""
