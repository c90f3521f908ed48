"""Check of the references in the settings: the values of SSM parameters and secrets.

Guarantees:
- The values are resolved as the extension resolves them, within the same limit.
- The destination and the endpoint are shown, because the next steps are about them. No secret is shown.
- All failures are reported at once, also mistakes in the settings that the values complete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from logferry.cli.check.credentials import apply, find_credentials
from logferry.cli.check.result import Step
from logferry.cli.console import counted
from logferry.errors import SettingsError, SinkError
from logferry.references.resolver import Resolver
from logferry.settings import Settings
from logferry.shipper.deferred_target import RESOLVE_SECONDS, RESOLVE_SHARE

if TYPE_CHECKING:
    from logferry.references.grammar import References

NAME = "references"
_REMEDY = "correct the stored value"


async def resolve_references(
    settings: Settings, references: References, environ: dict[str, str]
) -> tuple[Step, Settings | None]:
    """Return the step, and the settings with the values in place of the references if all are valid.

    Without credentials it is the step of the credentials.
    """
    credentials = await find_credentials(environ)
    if not credentials.credentials:
        return credentials.step, None
    apply(credentials.variables, environ)
    limit = min(RESOLVE_SECONDS, RESOLVE_SHARE * settings.upload_timeout)
    try:
        values = await Resolver(references, environ, timeout_seconds=limit).resolve()
        resolved = Settings.from_environ(environ, references.filled(values))
    except SettingsError as error:
        found = counted(len(error.mistakes), "mistake")
        return Step(NAME, "failed", f"{found} in the values", notes=tuple(error.mistakes), remedy=_REMEDY), None
    except ValueError as error:
        return Step(NAME, "failed", str(error), remedy=_REMEDY), None
    except SinkError as error:
        text, _, remedy = str(error).rpartition("; ")
        return Step(NAME, "failed", text or remedy, remedy=remedy if text else ""), None
    names = ", ".join(reference.text for reference in references.all)
    return Step(NAME, "ok", f"{counted(len(values), 'value')} resolved: {names}"), resolved
