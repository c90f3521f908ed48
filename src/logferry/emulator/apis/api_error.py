"""The error response of AWS's local APIs: a status and `{"errorMessage", "errorType"}`."""

from __future__ import annotations

from http import HTTPStatus


class ApiError(Exception):
    """A rejected request. The state machines raise it and the server converts it to a response."""

    def __init__(self, error_type: str, message: str, *, status: int = HTTPStatus.FORBIDDEN) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.status = int(status)
