"""References in the texts of settings: `ssm:/path/name` and `secretsmanager:name#key`. Pure.

Guarantees:
- Only settings that the upload needs can be references. In any other setting a reference is a mistake.
- A value is used as it is: a reference in the value of a parameter or secret is not followed.

Design: batches are stored before and while references are resolved. A setting that the journal or the listener needs
would have to wait for the network, and so would the Init phase.

References: Systems Manager User Guide, "About requirements and constraints for parameter names"; Secrets Manager API
Reference, "CreateSecret".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

SSM, SECRETS_MANAGER = "ssm", "secretsmanager"
MARKS = (f"{SSM}:", f"{SECRETS_MANAGER}:")
"""Beginning of each reference."""
GROUPS = ("HTTPS_", "S3_")
"""Beginning of the names of the settings that can be references, besides the destination."""
DESTINATIONS = ("DESTINATION", "FALLBACK_DESTINATION")
NEVER = ("S3_CLIENT",)
PAIRS = ("HTTPS_HEADERS", "S3_KMS_CONTEXT", "S3_TAGS")
"""Settings of the form `name=value,name=value`, whose values can be references too."""
ESCAPED = ("HTTPS_HEADERS",)
"""Settings of this form whose values have percent escapes, so that a value can contain a comma."""
_IN_SSM = (
    r"(?P<parameter>(?:arn:aws[a-z-]*:ssm:(?P<ssm_region>[a-z0-9-]+):\d{12}:parameter)?[A-Za-z0-9_./-]+"
    r"(?::[A-Za-z0-9_.-]{1,128})?)"
)
_IN_SECRETS_MANAGER = (
    r"(?P<secret>(?:arn:aws[a-z-]*:secretsmanager:(?P<secret_region>[a-z0-9-]+):\d{12}:secret:)?[A-Za-z0-9/_+=.@!-]+)"
    r"(?:#(?P<key>[^\s,](?:[^,]*[^\s,])?))?"
)
_REFERENCE = f"ssm:{_IN_SSM}|secretsmanager:{_IN_SECRETS_MANAGER}"
ARN_PARTS = 6
FORMS = "ssm:/path/name, ssm:/path/name:version, secretsmanager:name or secretsmanager:name#key"


class Reference(NamedTuple):
    """A parameter, or a secret with a key of its JSON."""

    service: str
    """`ssm` or `secretsmanager`."""
    name: str
    """Name or ARN of the parameter, with its version or label; or name or ARN of the secret."""
    key: str
    """Key of the secret's JSON object, or empty for the complete secret."""
    region: str
    """Region of the ARN, or empty."""

    @property
    def bare_name(self) -> str:
        """The name or ARN without the version or label."""
        parts = self.name.split(":")
        return ":".join(parts[:ARN_PARTS]) if parts[0] == "arn" else parts[0]

    @property
    def text(self) -> str:
        """The reference as in the setting."""
        return f"{self.service}:{self.name}" + (f"#{self.key}" if self.key else "")


class References(NamedTuple):
    """The references of all settings."""

    texts: Mapping[str, str]
    """Text of each setting that has a reference, by its name without the prefix."""
    places: Mapping[str, str]
    """Where each of these settings has its text: a variable, or a key of the configuration file."""
    all: Mapping[Reference, tuple[str, ...]]
    """The settings of each reference."""

    def filled(self, values: Mapping[Reference, str]) -> dict[str, str]:
        """Return the texts with the values of the references. Raise ValueError with the remedy."""
        for reference, value in values.items():
            if not value:
                names = ", ".join(self.places[name] for name in self.all[reference])
                raise ValueError(f"{reference.text} ({names}): the value is empty; store one, or correct the reference")
        return {
            name: _filled(text, values, self.places[name], is_escaped=name in ESCAPED)
            for name, text in self.texts.items()
        }


def find(texts: Mapping[str, str], places: Mapping[str, str]) -> tuple[References | None, dict[str, str]]:
    """Return the references in the texts of settings, or None if there are none, and the mistake of each setting."""
    found: dict[str, str] = {}
    settings: dict[Reference, list[str]] = {}
    mistakes: dict[str, str] = {}
    for name, text in texts.items():
        parts = _parts(name, text)
        if not parts:
            continue
        if not _may_be_reference(name):
            if parse(text):
                mistakes[name] = _not_allowed(name, text)
            continue
        for part in parts:
            reference = parse(part)
            if reference:
                settings.setdefault(reference, []).append(name)
                found[name] = text
            else:
                mistakes[name] = f"LOGFERRY_{name} begins like a reference, but has another form: use {FORMS}"
    if not settings:
        return None, mistakes
    named = {reference: tuple(dict.fromkeys(names)) for reference, names in settings.items()}
    return References(found, {name: places.get(name, f"LOGFERRY_{name}") for name in found}, named), mistakes


def parse(text: str) -> Reference | None:
    """Return the reference of a text, or None if it is none."""
    match = re.fullmatch(_REFERENCE, text, re.ASCII)
    if not match:
        return None
    if match["parameter"]:
        return Reference(SSM, match["parameter"], "", match["ssm_region"] or "")
    return Reference(SECRETS_MANAGER, match["secret"], match["key"] or "", match["secret_region"] or "")


def _may_be_reference(name: str) -> bool:
    return name in DESTINATIONS or (name.startswith(GROUPS) and name not in NEVER)


def _parts(name: str, text: str) -> list[str]:
    """Return the parts of a text that begin as a reference does."""
    if text.startswith(MARKS):
        return [text]
    if name not in PAIRS:
        return []
    values = [part.partition("=")[2].strip() for part in text.split(",")]
    return [value for value in values if value.startswith(MARKS)]


def _not_allowed(name: str, text: str) -> str:
    allowed = ", ".join([*(f"LOGFERRY_{one}" for one in DESTINATIONS), *(f"LOGFERRY_{group}…" for group in GROUPS)])
    return (
        f"LOGFERRY_{name} is {text!r}, but only the settings of the upload can be references ({allowed}), because all "
        "others are needed before the network is: write the value itself"
    )


def _filled(text: str, values: Mapping[Reference, str], place: str, *, is_escaped: bool) -> str:
    if whole := parse(text):
        return values[whole]
    filled = []
    for part in text.split(","):
        name, equals, given = part.partition("=")
        reference = parse(given.strip())
        value = values[reference] if reference else given
        if reference and is_escaped:
            value = value.replace("%", "%25").replace(",", "%2C")
        elif reference and "," in value:
            raise ValueError(f"{place}: the value of {reference.text} contains a comma, which separates the pairs")
        filled.append(f"{name}{equals}{value}")
    return ",".join(filled)
