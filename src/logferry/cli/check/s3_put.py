"""Storage of the canary through the sink of the extension, and the search for what S3 refuses.

Guarantees:
- The first request is the one that the extension would send. Further requests are sent only after a refusal.
- A policy that covers the objects and not the folder of the canary is no fault: the canary is then stored next to the
  objects, under a name that all readers ignore.
- Each request is bounded by the timeout of an upload and the limit of a connection.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from logferry.cli.check import sink_put
from logferry.cli.check.canary import FOLDER, canary_of
from logferry.cli.check.diagnosis import diagnose
from logferry.cli.check.header_groups import PUT
from logferry.cli.check.iam_statements import Target, statements
from logferry.cli.check.result import Step
from logferry.records.model import Header, Origin, iso
from logferry.records.object_key import render_key
from logferry.shipper.upload_target import open_target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logferry.cli.check.context import Context
    from logferry.cli.check.diagnosis import Diagnosis
    from logferry.errors import SinkError


class Put(NamedTuple):
    """The step, and the complete key of the stored canary, or an empty string."""

    step: Step
    key: str


class _Canary:
    """Puts of the canary with different headers and in different folders."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.headers: Mapping[str, str] = context.settings.s3.headers if context.settings.s3 else {}
        self.folder = FOLDER
        self.key = ""
        """Complete key of the last canary that was stored."""
        self.seconds = 0.0

    async def put(self, headers: Mapping[str, str]) -> SinkError | None:
        """Store the canary with these headers. Return the error, or None."""
        settings = self._context.settings
        place = settings.destination
        stored = canary_of(object_headers=headers, folder=self.folder)
        if settings.s3:
            settings = settings._replace(s3=settings.s3._replace(headers=headers))
        sink = open_target(settings, self._context.environ).sink
        started = time.monotonic()
        if error := await sink_put.put_bounded(sink, stored, timeout_seconds=settings.upload_timeout):
            return error
        self.seconds = time.monotonic() - started
        self.key = f"{place.path}/{stored.key}" if place.path else stored.key
        return None


async def put_canary(context: Context, target: Target) -> Put:
    """Store the canary. After a refusal, find what is missing."""
    canary = _Canary(context)
    error = await canary.put(canary.headers)
    if error is None:
        return Put(_stored(canary, target), canary.key)
    found = await diagnose(canary.headers, error, canary.put)
    if PUT in found.missing and await _is_stored_with_the_objects(canary, context):
        note = f"the policy covers the objects, but not {FOLDER}/; the canary was stored next to the objects"
        return Put(_stored(canary, target, note), canary.key)
    return Put(_refused(error, found, target), canary.key if found.is_stored else "")


async def _is_stored_with_the_objects(canary: _Canary, context: Context) -> bool:
    """Store the canary in the folder of an object, if the name of the function is known."""
    if not context.environ.get("AWS_LAMBDA_FUNCTION_NAME"):
        return False
    canary.folder = _object_folder(context, time.time())
    return await canary.put(canary.headers) is None


def _object_folder(context: Context, epoch_seconds: float) -> str:
    """Return the folder for the canary next to an object of the function with a record of this time."""
    environ = context.environ
    origin = Origin(
        environment="0" * 16,
        function=environ.get("AWS_LAMBDA_FUNCTION_NAME", ""),
        version=environ.get("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        region=environ.get("AWS_REGION", "unknown"),
        concurrent=False,
    )
    at_ms = int(epoch_seconds * 1000)
    key = render_key(context.settings.key, Header(origin, 1, at_ms, None), iso(at_ms), "0")
    return "/".join([*key.split("/")[:-1], FOLDER])


def _stored(canary: _Canary, target: Target, *notes: str) -> Step:
    return Step(
        sink_put.NAME, "ok", f"s3://{target.bucket}/{canary.key} in {canary.seconds * 1000:.0f} ms", notes=notes
    )


def _refused(error: SinkError, found: Diagnosis, target: Target) -> Step:
    """Return the failed step: what S3 answered, what is missing, and how to allow it."""
    text, remedy = sink_put.text_and_remedy(error)
    notes = [f"missing: {permission}, in {advice.policy}" for permission, advice in found.missing.items()]
    if PUT in found.missing and found.is_inferred:
        notes.append(
            "S3 names no permission, so the policy of the bucket, its KMS key or the VPC endpoint may refuse it"
        )
    if found.is_inferred and found.is_stored:
        notes.append("S3 does not name the permission; the canary was stored without the headers that need it")
    notes += [f"refused: {group.setting}; without it, the canary was stored" for group in found.refused]
    added = [permission for permission, advice in found.missing.items() if advice.is_addition]
    denied = {advice.policy for advice in found.missing.values() if not advice.is_addition}
    remedies = [
        f"add this statement to {policy}"
        for policy in dict.fromkeys(advice.policy for advice in found.missing.values() if advice.is_addition)
    ]
    remedies += [f"remove or change the statement that denies it in {policy}" for policy in sorted(denied)]
    remedies += [_remedy_of(group.setting) for group in found.refused]
    return Step(
        sink_put.NAME,
        "failed",
        text,
        notes=tuple(notes),
        remedy="; ".join(remedies) or remedy,
        statements=statements(added, target),
        missing=tuple(found.missing),
    )


def _remedy_of(setting: str) -> str:
    if setting == "LOGFERRY_S3_EXPECTED_OWNER":
        return f"correct {setting}, or the destination: the bucket belongs to another account"
    return f"remove or correct {setting}: this bucket does not accept it"
