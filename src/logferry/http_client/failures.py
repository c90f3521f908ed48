"""Messages of failed connections, and sentences of services that are safe in a message. Pure.

Guarantees:
- A message about a connection names host, cause and remedy.
- A message contains no access key id, no signature and no password of a URL, and is bounded and on one line.

Design: the remedy depends on the service and its settings, so the owner of the client passes it.
"""

from __future__ import annotations

import errno
import os
import re
from typing import NamedTuple

MESSAGE_CHARACTERS = 400
"""Limit of a service's sentence in a message, in characters. The longest known sentence of S3 has 350."""

_ENTITIES = {"lt": "<", "gt": ">", "quot": '"', "#34": '"', "apos": "'", "#39": "'", "amp": "&"}
_ENTITY = "&(" + "|".join(_ENTITIES) + ");"
_CONFIDENTIAL = r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b|\b[0-9a-fA-F]{64}\b|(?<=//)[^/\s@'\"]+(?=@)|(?i:\bBasic\s+[\w+/=-]+)"
"""An access key id, a signature, the user of a URL with its password, or a proxy's credentials."""

CHECK_PROXY = "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""Causes within this environment: the address is right, so no remedy for it is given."""


class Remedies(NamedTuple):
    """Remedies for a host that cannot be used."""

    resolve: str
    """The name has no address."""
    reach: str
    """The address refuses connections or cannot be reached."""
    respond: str
    """No connection within the time limit."""


def remedies(one: str) -> Remedies:
    """Return the same remedy for all causes."""
    return Remedies(one, one, one)


def bounded(sentence: str) -> str:
    """Return a sentence on one line, without XML entities and secrets, and bounded in length."""
    sentence = re.sub(_ENTITY, lambda match: _ENTITIES[match[1]], sentence)
    sentence = re.sub(_CONFIDENTIAL, "…", sentence)
    sentence = " ".join("".join(c if c.isprintable() else " " for c in sentence).split()).rstrip(".")
    return sentence if len(sentence) <= MESSAGE_CHARACTERS else sentence[: MESSAGE_CHARACTERS - 1] + "…"


def connect_failure(host: str, port: int, error: OSError, remedies: Remedies, *, is_unresolved: bool) -> str:
    """Return the message for a connection that cannot be opened."""
    number = error.errno or 0
    cause = bounded(os.strerror(number) if number > 0 else error.strerror or str(error))
    # 1. The name has no address.
    if is_unresolved:
        return f"cannot resolve {bounded(host)} (port {port}): {cause}; {remedies.resolve}"
    event = f"cannot connect to {bounded(host)}:{port}: {cause}"
    # 2. No more descriptors or memory.
    if number in _EXHAUSTED:
        return event
    # 3. The address is refused or cannot be reached.
    return f"{event}; {remedies.reach}"
