"""The state machine of an extension and the registry."""

from __future__ import annotations

import pytest

from logferry.emulator.apis.api_error import ApiError
from logferry.emulator.processes.extensions import MAX_EXTENSIONS, ExtensionRegistry, State


def test_the_registry_rejects_an_eleventh_extension() -> None:
    """The limit of ten includes external and internal extensions."""
    registry = ExtensionRegistry([f"external-{n}" for n in range(4)], managed_instances=False)
    for number in range(MAX_EXTENSIONS - 4):
        registry.register(f"internal-{number}", [])
    with pytest.raises(ApiError) as raised:
        registry.register("one-too-many", [])
    assert raised.value.error_type == "Extension.TooManyExtensions"


async def test_an_event_for_a_busy_extension_waits_for_its_next_next() -> None:
    """A SHUTDOWN that is due during INVOKE is delivered at the following `/next`."""
    registry = ExtensionRegistry(["ext"], managed_instances=False)
    extension = registry.register("ext", ["INVOKE", "SHUTDOWN"])
    first = extension.next()
    extension.deliver({"eventType": "INVOKE"})
    assert first.result() == {"eventType": "INVOKE"}
    extension.deliver({"eventType": "SHUTDOWN"})
    assert extension.state is State.RUNNING
    assert extension.next().result() == {"eventType": "SHUTDOWN"}
