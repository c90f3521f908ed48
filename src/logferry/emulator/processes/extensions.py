"""The extensions of one life of the environment, and the state machine each of them is.

Pure but for the futures their `/next` calls wait on. States, transitions and refusals are those of
aws-lambda-runtime-interface-emulator (`core/externalagent_states.go`, `rapi/handler/agentregister.go`):

    Started -register-> Registered -next-> Ready <=event/next=> Running -> Exited | ShutdownFailed
    Registered -init/error-> InitError        any but Started -exit/error-> ExitError        Started -> LaunchError

`/next` is legal in Registered and in Running only: asked again while one is unanswered, it is refused, whether or not
the first asker still listens. An event that comes due while the extension is busy waits in its mailbox for the next
`/next`. A name that is not in `/opt/extensions` is taken for an internal extension and not for a mistake.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from logferry.emulator.apis.api_error import RefusalError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

INVOKE, SHUTDOWN = "INVOKE", "SHUTDOWN"
MOST_EXTENSIONS = 10
"""External and internal together ("Using the Lambda Extensions API")."""


class State(StrEnum):
    """The names AWS's code gives, and `platform.extension` shows."""

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
    """One extension; `external` when a file in `/opt/extensions` stands behind it."""

    name: str
    external: bool
    identifier: str = field(default_factory=lambda: str(uuid.uuid4()))
    state: State = State.STARTED
    events: frozenset[str] = frozenset()
    error_type: str | None = None
    subscribed_to: str | None = None
    _asking: asyncio.Future[Mapping[str, object]] | None = None
    _mailbox: Mapping[str, object] | None = None

    @property
    def waits(self) -> bool:
        """Whether it has said that it is done with the last event."""
        return self.state is State.READY

    def register(self, events: Iterable[str]) -> None:
        """Started to Registered."""
        self._leave(State.REGISTERED, allowed=(State.STARTED,))
        self.events = frozenset(events)

    def next(self) -> asyncio.Future[Mapping[str, object]]:
        """Registered or Running to Ready; the future brings the event, and Running."""
        self._leave(State.READY, allowed=(State.REGISTERED, State.RUNNING))
        future: asyncio.Future[Mapping[str, object]] = asyncio.get_running_loop().create_future()
        self._asking = future
        if self._mailbox is not None:
            event, self._mailbox = self._mailbox, None
            self.deliver(event)
        return future

    def deliver(self, event: Mapping[str, object]) -> None:
        """Hand over an event, now or at the next `/next`."""
        if self._asking is None:
            self._mailbox = event
            return
        asking, self._asking = self._asking, None
        self.state = State.RUNNING
        asking.set_result(event)

    def report_init_error(self, error_type: str) -> None:
        """Registered to InitError."""
        self._leave(State.INIT_ERROR, allowed=(State.REGISTERED,))
        self.error_type = error_type

    def report_exit_error(self, error_type: str) -> None:
        """To ExitError, from any state in which it may speak."""
        self._leave(State.EXIT_ERROR, allowed=(State.REGISTERED, State.READY, State.RUNNING))
        self.error_type = error_type

    def end(self, state: State) -> None:
        """Its process is gone: a `/next` it left unanswered ends too."""
        if self.state not in (State.INIT_ERROR, State.EXIT_ERROR, State.LAUNCH_ERROR):
            self.state = state
        if self._asking is not None:
            asking, self._asking = self._asking, None
            if not asking.done():  # cancelled with its request when the server stops
                asking.set_exception(self._refusal(state, "the environment has ended"))

    def _leave(self, to: State, *, allowed: tuple[State, ...]) -> None:
        if self.state not in allowed:
            raise self._refusal(to, "State transition is not allowed")
        self.state = to

    def _refusal(self, to: State, why: str) -> RefusalError:
        return RefusalError(
            "Extension.InvalidExtensionState",
            f"State transition from {self.state} to {to} failed for extension {self.name}. Error: {why}",
        )


class ExtensionRegistry:
    """Who is there, and who may still join."""

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
        """Those with a process of their own."""
        return [extension for extension in self if extension.external]

    def listening_for(self, event: str) -> list[Extension]:
        """Those that registered for `event`."""
        return [extension for extension in self if event in extension.events]

    def all_external_registered(self) -> bool:
        """Whether the runtime may be started."""
        return all(extension.state is not State.STARTED for extension in self.external)

    def all_wait(self, extensions: Iterable[Extension] | None = None) -> bool:
        """Whether each of `extensions`, or each at all, has asked for its next event."""
        return all(extension.waits for extension in (self if extensions is None else extensions))

    def register(self, name: str, events: Iterable[str]) -> Extension:
        """Register by name. Raises RefusalError in the cases of "Extensions API, Register"."""
        if not name:
            raise RefusalError("Extension.InvalidExtensionName", "Empty extension name")
        known = self._by_name.get(name)
        external = known is not None and known.external
        for event in events:
            self._check_event(event, external=external)
        extension = known if known is not None and external else self._join(name)
        extension.register(events)
        return extension

    def _check_event(self, event: str, *, external: bool) -> None:
        if event not in (INVOKE, SHUTDOWN) or (event == INVOKE and self._managed_instances):
            raise RefusalError("Extension.InvalidEventType", f"{event}: ErrorInvalidEventType")
        if event == SHUTDOWN and not external:
            raise RefusalError("Extension.InvalidEventType", f"{event}: ShutdownEventNotSupportedForInternalExtension")

    def _join(self, name: str) -> Extension:
        if self.closed:
            raise RefusalError("Extension.RegistrationClosed", "Extension registration closed already")
        if name in self._by_name:
            raise RefusalError("Extension.InvalidExtensionState", "Extension with this name already registered")
        if len(self._by_name) >= MOST_EXTENSIONS:
            raise RefusalError("Extension.TooManyExtensions", f"Extension limit ({MOST_EXTENSIONS}) reached")
        extension = self._by_name[name] = Extension(name, external=False)
        return extension

    def identify(self, identifier: str | None) -> Extension:
        """Find who is speaking. Raises RefusalError when the identifier is absent, malformed or unknown."""
        if not identifier:
            raise RefusalError("Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header")
        try:
            uuid.UUID(identifier)
        except ValueError:
            raise RefusalError("Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier") from None
        for extension in self:
            if extension.identifier == identifier and extension.state is not State.STARTED:
                return extension
        raise RefusalError("Extension.UnknownExtensionIdentifier", "Unknown extension " + identifier)
