"""A request answered with an error, in the form AWS gives it: a status and `{"errorMessage", "errorType"}`."""

from __future__ import annotations

from http import HTTPStatus


class RefusalError(Exception):
    """Raised by the state machines, turned into an HTTP answer by the server."""

    def __init__(self, error_type: str, message: str, *, status: int = HTTPStatus.FORBIDDEN) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.status = int(status)
