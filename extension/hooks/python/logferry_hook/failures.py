"""Exceptions of a call: the recorded name of its error, and exceptions that are not the hook's.

Design: the name is the code of the operating system's error where there is one, as in Node.js. Otherwise it is the
class of the exception. Messages are never recorded, because they contain URLs.
"""

import sys
from errno import errorcode

TYPE_CHECKING = False  # type checkers treat this name as true; the function may not need typing
if TYPE_CHECKING:
    from typing import Any

CAUSES_LIMIT = 12
"""Maximum number of exceptions that are examined for the cause of one."""
RESOLVER_CODES = {-2: "ENOTFOUND", -3: "EAI_AGAIN", -5: "ENOTFOUND"}
"""Errors of getaddrinfo, with the names that Node.js uses for them."""
CLIENT_PACKAGES = ("aiohttp", "botocore", "httpcore", "requests", "urllib3")


def error_name(error: BaseException) -> str:
    """Return the code of the operating system's error that caused an exception, or the name of its class."""
    waiting: list[Any] = [error]
    code, name = "", type(error).__name__
    for _ in range(CAUSES_LIMIT):
        if not waiting:
            break
        cause = waiting.pop(0)
        kind = type(cause)
        # 1. An error of OpenSSL: its class. Its number is not an errno.
        # 2. An error of the operating system or of the resolver: its code, unless TLS caused it.
        # 3. Every exception may have a cause. The context is one only in exceptions of the clients themselves.
        if kind.__module__ == "ssl":
            return kind.__name__
        if isinstance(cause, OSError):
            number = cause.errno or 0
            code = code or RESOLVER_CODES.get(number) or errorcode.get(number) or ""
        reason = getattr(cause, "reason", None)
        if isinstance(reason, BaseException):
            name = type(reason).__name__ if cause is error else name
            waiting.append(reason)
        library = kind.__module__.partition(".")[0] in CLIENT_PACKAGES
        waiting += [one for one in (cause.__cause__, cause.__context__ if library else None) if one]
    return code or ("TimeoutError" if name == "timeout" else name)


def raised_by_signal_handler(error: BaseException) -> bool:
    """Return whether a signal handler of the function has raised an exception, such as the limit of a deadline."""
    signal = sys.modules.get("signal")
    if signal is None:
        return False
    handlers = [getattr(signal.getsignal(number), "__code__", None) for number in signal.valid_signals()]
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code in handlers:
            return True
        traceback = traceback.tb_next
    return False
