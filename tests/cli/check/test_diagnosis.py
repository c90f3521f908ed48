"""The search for what S3 refuses, against a model of S3 that has permissions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from logferry.cli.check.diagnosis import MAX_ATTEMPTS, Diagnosis, diagnose
from logferry.errors import SinkRejected, SinkUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from logferry.errors import SinkError

HEADERS = {
    "x-amz-tagging": "a=b",
    "x-amz-acl": "private",
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-server-side-encryption-context": "e30=",
    "x-amz-expected-bucket-owner": "123456789012",
    "x-amz-storage-class": "STANDARD_IA",
}
NEEDS = {
    "x-amz-tagging": "s3:PutObjectTagging",
    "x-amz-acl": "s3:PutObjectAcl",
    "x-amz-server-side-encryption": "kms:GenerateDataKey",
}
PUT = "s3:PutObject"


def refusal(action: str = "") -> SinkError:
    """Return the error of a sink for a denied request, which may name an action."""
    error = SinkRejected("put x: 403 AccessDenied")
    error.status, error.code = 403, "AccessDenied"
    error.sentence = f"x is not authorized to perform: {action} on resource: y" if action else "Access Denied"
    return error


class Model:
    """S3 with the permissions of an identity. `names` states whether a refusal names the action."""

    def __init__(self, missing: set[str], *, names: bool) -> None:
        self.missing = missing
        self.names = names
        self.attempts = 0

    async def put(self, headers: Mapping[str, str]) -> SinkError | None:
        """Store the object, or refuse the first action that is not allowed."""
        self.attempts += 1
        needed = [PUT, *(action for header, action in NEEDS.items() if header in headers)]
        action = next((each for each in needed if each in self.missing), "")
        return refusal(action if self.names else "") if action else None

    async def diagnose(self) -> Diagnosis:
        """Return the diagnosis of a request with all headers."""
        error = await self.put(HEADERS)
        assert error
        return await diagnose(HEADERS, error, self.put)


@settings(max_examples=60, deadline=None)
@given(missing=st.sets(st.sampled_from([PUT, *NEEDS.values()]), min_size=1), names=st.booleans())
async def test_the_diagnosis_names_exactly_what_is_missing(missing: set[str], names: bool) -> None:
    """Without PutObject no other permission can be found, because no request is stored."""
    model = Model(missing, names=names)
    found = await model.diagnose()
    assert set(found.missing) == ({PUT} if PUT in missing else missing)
    assert found.is_stored == (PUT not in missing)
    assert not found.refused
    assert model.attempts <= MAX_ATTEMPTS + 1


async def test_the_search_ends_with_a_request_without_a_response() -> None:
    """Each further request would take as long, and no permission is proven to be missing."""
    attempts = []

    async def no_response(headers: Mapping[str, str]) -> SinkError:
        attempts.append(headers)
        return SinkUnavailable("put x: no response within 5 s")

    found = await diagnose(HEADERS, refusal(), no_response)
    assert len(attempts) == 1
    assert not found.missing


async def test_a_server_that_always_names_an_action_does_not_make_the_search_endless() -> None:
    """A permission whose headers are left out already is not searched for again."""
    attempts = []

    async def always(headers: Mapping[str, str]) -> SinkError:
        attempts.append(headers)
        return refusal("s3:PutObjectTagging")

    found = await diagnose(HEADERS, refusal("s3:PutObjectTagging"), always)
    assert list(found.missing) == ["s3:PutObjectTagging"]
    assert len(attempts) == 1
