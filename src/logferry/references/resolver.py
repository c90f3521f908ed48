"""Resolution of references: the values of SSM parameters and secrets.

Guarantees:
- Nothing is read before `resolve` is called, so a SnapStart snapshot contains no value.
- `resolve` takes at most `timeout_seconds`.
- One request returns up to `MAX_NAMES` parameters, or one secret for all of its keys.
- All failures are reported at once, each with the reference and the setting. No message contains a value.

References: Systems Manager API Reference, "GetParameters"; Secrets Manager API Reference, "GetSecretValue".
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from logferry.aws.credentials import CredentialSource
from logferry.errors import SinkError, SinkRejected, SinkUnavailable
from logferry.references.grammar import SSM, Reference
from logferry.references.service_client import ServiceClient
from logferry.references.services import SERVICES, address_of, region_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence

    from logferry.references.grammar import References

    Values = dict[Reference, str]

MAX_NAMES = 10
"""Maximum number of names in a GetParameters request."""
REQUEST_SHARE = 0.75
"""Limit of one response as a share of the total limit, so that its message names the service."""


class Resolver:
    """The values of the references in the settings."""

    def __init__(
        self,
        references: References,
        environ: Mapping[str, str],
        *,
        timeout_seconds: float,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._references = references
        self._environ = environ
        self._timeout = timeout_seconds
        self._wall_clock = wall_clock
        self._credentials = CredentialSource(environ, wall_clock=wall_clock)

    async def resolve(self) -> Values:
        """Return the value of each reference. Raises SinkUnavailable or SinkRejected with all failures."""
        clients, failures = self._clients()
        requests = self._requests(clients)
        try:
            async with asyncio.timeout(self._timeout):
                results = await asyncio.gather(*requests, return_exceptions=True)
        except TimeoutError as error:
            raise SinkUnavailable(
                f"the references in the settings are not resolved within {self._timeout:g} s; check the route of the "
                f"VPC to {' and '.join(sorted({SERVICES[name].title for name, _ in clients}))}"
            ) from error
        finally:
            for client in clients.values():
                client.close()
        values: Values = {}
        for result in results:
            if isinstance(result, SinkError):
                failures.append(result)
            elif isinstance(result, BaseException):
                raise result
            else:
                values |= result
        if failures:
            raise _joined(failures)
        return values

    def _clients(self) -> tuple[dict[tuple[str, str], ServiceClient], list[SinkError]]:
        """Return a client for each service and region, and the configurations that are not supported."""
        clients, failures = {}, list[SinkError]()
        for key in dict.fromkeys((one.service, one.region) for one in self._references.all):
            service, region = SERVICES[key[0]], region_of(key[1], self._environ)
            try:
                address = address_of(service, region, self._environ)
            except ValueError as error:
                where = self._where([one for one in self._references.all if (one.service, one.region) == key])
                failures.append(SinkRejected(f"{where}: {error}"))
                continue
            clients[key] = ServiceClient(
                service,
                address,
                region=region,
                environ=self._environ,
                credentials=self._credentials,
                timeout_seconds=REQUEST_SHARE * self._timeout,
                wall_clock=self._wall_clock,
            )
        return clients, failures

    def _requests(self, clients: Mapping[tuple[str, str], ServiceClient]) -> list[Coroutine[Any, Any, Values]]:
        requests = []
        for (service, region), client in clients.items():
            wanted = [one for one in self._references.all if (one.service, one.region) == (service, region)]
            if service == SSM:
                requests += [self._parameters(client, batch) for batch in _batches(wanted)]
            else:
                names = dict.fromkeys(one.name for one in wanted)
                requests += [self._secret(client, name, [one for one in wanted if one.name == name]) for name in names]
        return requests

    async def _parameters(self, client: ServiceClient, wanted: Sequence[Reference]) -> Values:
        document = {"Names": [one.name for one in wanted], "WithDecryption": True}
        response = await client.call(document, where=self._where(wanted))
        found = _parameters_by_name(response)
        missing = [one for one in wanted if one.bare_name not in found]
        if missing:
            raise SinkRejected(
                f"{self._where(missing)}: SSM has no such parameter or version in this region; create it, or correct "
                "the reference"
            )
        return {one: found[one.bare_name] for one in wanted}

    async def _secret(self, client: ServiceClient, name: str, wanted: Sequence[Reference]) -> Values:
        response = await client.call({"SecretId": name}, where=self._where(wanted))
        text = response.get("SecretString")
        if not isinstance(text, str):
            raise SinkRejected(f"{self._where(wanted)}: the secret is not text; store it as a string or as JSON")
        values, failures = {}, list[SinkError]()
        for one in wanted:
            try:
                values[one] = _member(text, one.key) if one.key else text.strip()
            except ValueError as error:
                failures.append(SinkRejected(f"{self._where([one])}: {error}"))
        if failures:
            raise _joined(failures)
        return values

    def _where(self, references: Iterable[Reference]) -> str:
        """Return references with the settings that contain them."""
        places = self._references.places
        return ", ".join(
            f"{one.text} ({', '.join(places[name] for name in self._references.all[one])})" for one in references
        )


def _batches(wanted: Iterable[Reference]) -> list[list[Reference]]:
    """Divide parameters among requests. No request has two versions of one, because only their names are compared."""
    batches: list[dict[str, Reference]] = []
    for one in wanted:
        for batch in batches:
            if len(batch) < MAX_NAMES and one.bare_name not in batch:
                batch[one.bare_name] = one
                break
        else:
            batches.append({one.bare_name: one})
    return [list(batch.values()) for batch in batches]


def _parameters_by_name(response: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of a GetParameters response by name and by ARN, both without a version."""
    entries = response.get("Parameters")
    texts = (
        [one for one in entries if isinstance(one, dict) and isinstance(one.get("Value"), str)]
        if isinstance(entries, list)
        else []
    )
    return {
        one[name]: one["Value"].strip() for one in texts for name in ("ARN", "Name") if isinstance(one.get(name), str)
    }


def _member(text: str, key: str) -> str:
    """Return the member of a JSON object as text. Raise ValueError with the remedy, without the content."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ValueError(  # noqa: TRY004 - a mistake of the user
            f"the secret is not a JSON object; remove #{key}, or store an object with this key"
        )
    if key not in document:
        raise ValueError(f"the JSON object of the secret has no key {key!a}; add it, or correct the reference")
    value = document[key]
    if isinstance(value, str):
        return value.strip()
    if value is None or isinstance(value, (dict, list)):
        raise ValueError(f"the value of the key {key!a} is not text; store a string")
    return json.dumps(value)


def _joined(failures: Sequence[SinkError]) -> SinkError:
    """Return one error for all failures. One that only a person can correct decides when to try again."""
    kind = SinkRejected if any(isinstance(one, SinkRejected) for one in failures) else SinkUnavailable
    return kind("; ".join(str(one) for one in failures))
