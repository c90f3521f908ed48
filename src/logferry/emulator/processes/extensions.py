"""The extensions of one sandbox and the state machine of each.

    Started -register-> Registered -next-> Ready <=event/next=> Running -> Exited | ShutdownFailed
    Registered -init/error-> InitError        any but Started -exit/error-> ExitError
    Started -> LaunchError

Guarantees:
- `/next` is legal only in Registered and Running. A second `/next` during an unanswered one is
  rejected, even if the first client has disconnected.
- An event that is due while the extension is busy waits for its next `/next`.
- A name that is not in `/opt/extensions` registers an internal extension; it is not an error.

References: `core/externalagent_states.go` and `rapi/handler/agentregister.go` in
aws-lambda-runtime-interface-emulator.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from logferry.emulator.apis.api_error import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

INVOKE, SHUTDOWN = "INVOKE", "SHUTDOWN"
MAX_EXTENSIONS = 10
"""Maximum number of external and internal extensions together ("Using the Lambda Extensions API")."""


class State(StrEnum):
    """The states of AWS's code, as `platform.extension` shows them."""

    STARTED = "Started"
    REGISTERED = "Registered"
    READY = "Ready"
    RUNNING = "Running"
    EXITED = "Exited"
    SHUTDOWN_FAILED = "ShutdownFailed"
    INIT_ERROR = "InitError"
    EXIT_ERROR = "ExitError"
    LAUNCH_ERROR = "LaunchError"


@dataclass(slots=True, eq=False)
class Extension:
    """One extension; `external` if it is a file in `/opt/extensions`."""

    name: str
    external: bool
    identifier: str = field(default_factory=lambda: str(uuid.uuid4()))
    state: State = State.STARTED
    events: frozenset[str] = frozenset()
    error_type: str | None = None
    subscribed_to: str | None = None
    _pending_next: asyncio.Future[Mapping[str, object]] | None = None
    _queued_event: Mapping[str, object] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the extension has called `/next` after its last event."""
        return self.state is State.READY

    def register(self, events: Iterable[str]) -> None:
        """Change from Started to Registered."""
        self._change_state(State.REGISTERED, allowed=(State.STARTED,))
        self.events = frozenset(events)

    def next(self) -> asyncio.Future[Mapping[str, object]]:
        """Change from Registered or Running to Ready; return a future of the next event."""
        self._change_state(State.READY, allowed=(State.REGISTERED, State.RUNNING))
        future: asyncio.Future[Mapping[str, object]] = asyncio.get_running_loop().create_future()
        self._pending_next = future
        if self._queued_event is not None:
            event, self._queued_event = self._queued_event, None
            self.deliver(event)
        return future

    def deliver(self, event: Mapping[str, object]) -> None:
        """Send an event now, or at the next `/next` if the extension is busy."""
        if self._pending_next is None:
            self._queued_event = event
            return
        pending, self._pending_next = self._pending_next, None
        self.state = State.RUNNING
        pending.set_result(event)

    def report_init_error(self, error_type: str) -> None:
        """Change from Registered to InitError."""
        self._change_state(State.INIT_ERROR, allowed=(State.REGISTERED,))
        self.error_type = error_type

    def report_exit_error(self, error_type: str) -> None:
        """Change to ExitError from any state after registration."""
        self._change_state(State.EXIT_ERROR, allowed=(State.REGISTERED, State.READY, State.RUNNING))
        self.error_type = error_type

    def end(self, state: State) -> None:
        """Record the end of the process and fail an unanswered `/next`."""
        if self.state not in (State.INIT_ERROR, State.EXIT_ERROR, State.LAUNCH_ERROR):
            self.state = state
        if self._pending_next is not None:
            pending, self._pending_next = self._pending_next, None
            if not pending.done():  # the server cancels it together with its request when it stops
                pending.set_exception(self._invalid_transition(state, "the environment has ended"))

    def _change_state(self, to: State, *, allowed: tuple[State, ...]) -> None:
        if self.state not in allowed:
            raise self._invalid_transition(to, "State transition is not allowed")
        self.state = to

    def _invalid_transition(self, to: State, why: str) -> ApiError:
        return ApiError(
            "Extension.InvalidExtensionState",
            f"State transition from {self.state} to {to} failed for extension {self.name}. Error: {why}",
        )


class ExtensionRegistry:
    """The extensions by name, and the rules for registration."""

    def __init__(self, external_names: Iterable[str], *, managed_instances: bool) -> None:
        self._by_name = {name: Extension(name, external=True) for name in external_names}
        self._managed_instances = managed_instances
        self.closed = False

    def __iter__(self) -> Iterator[Extension]:
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> Extension:
        return self._by_name[name]

    def __repr__(self) -> str:
        return f"<ExtensionRegistry {', '.join(f'{e.name} {e.state}' for e in self)}>"

    @property
    def external(self) -> list[Extension]:
        """The extensions with a separate process."""
        return [extension for extension in self if extension.external]

    def registered_for(self, event: str) -> list[Extension]:
        """Return the extensions that registered for `event`."""
        return [extension for extension in self if event in extension.events]

    def all_external_registered(self) -> bool:
        """Return whether the runtime may be started."""
        return all(extension.state is not State.STARTED for extension in self.external)

    def all_ready(self, extensions: Iterable[Extension] | None = None) -> bool:
        """Return whether each of `extensions`, by default all, has called `/next`."""
        return all(extension.is_ready for extension in (self if extensions is None else extensions))

    def register(self, name: str, events: Iterable[str]) -> Extension:
        """Register an extension by name; raise ApiError as "Extensions API, Register" documents."""
        if not name:
            raise ApiError("Extension.InvalidExtensionName", "Empty extension name")
        known = self._by_name.get(name)
        external = known is not None and known.external
        for event in events:
            self._check_event(event, external=external)
        extension = known if known is not None and external else self._add_internal(name)
        extension.register(events)
        return extension

    def _check_event(self, event: str, *, external: bool) -> None:
        if event not in (INVOKE, SHUTDOWN) or (event == INVOKE and self._managed_instances):
            raise ApiError("Extension.InvalidEventType", f"{event}: ErrorInvalidEventType")
        if event == SHUTDOWN and not external:
            raise ApiError("Extension.InvalidEventType", f"{event}: ShutdownEventNotSupportedForInternalExtension")

    def _add_internal(self, name: str) -> Extension:
        if self.closed:
            raise ApiError("Extension.RegistrationClosed", "Extension registration closed already")
        if name in self._by_name:
            raise ApiError("Extension.InvalidExtensionState", "Extension with this name already registered")
        if len(self._by_name) >= MAX_EXTENSIONS:
            raise ApiError("Extension.TooManyExtensions", f"Extension limit ({MAX_EXTENSIONS}) reached")
        extension = self._by_name[name] = Extension(name, external=False)
        return extension

    def identify(self, identifier: str | None) -> Extension:
        """Return the extension with this identifier; raise ApiError if it is absent, malformed or unknown."""
        if not identifier:
            raise ApiError("Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header")
        try:
            uuid.UUID(identifier)
        except ValueError:
            raise ApiError("Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier") from None
        for extension in self:
            if extension.identifier == identifier and extension.state is not State.STARTED:
                return extension
        raise ApiError("Extension.UnknownExtensionIdentifier", "Unknown extension " + identifier)
