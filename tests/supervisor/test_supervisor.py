"""Rules of the supervisor: restart, idle, holding of events. The API and the shipper are real sockets and processes."""

from __future__ import annotations

import contextlib
import json
import posix
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import pytest

from logferry import ipc, values
from logferry.supervisor import endpoint, lambda_api, shipper_process, supervisor
from logferry.supervisor.lambda_api import LambdaApi
from logferry.supervisor.shipper_process import ShipperProcess
from logferry.supervisor.supervisor import RESTART_DELAYS_SECONDS, RestartPolicy, Supervisor
from support.fake_lambda_api import (
    INIT_ERROR,
    LOGS,
    NEXT,
    REGISTER,
    TELEMETRY,
    WAIT_SECONDS,
    FakeLambdaApi,
    event,
    fake_lambda_api,
)
from support.scripted_shipper import ScriptedShippers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

pytestmark = pytest.mark.timeout(60)

BUSY_SECONDS = 0.5
"""Delay of a process on a busy machine. The supervisor's margin of 0.1 s before a deadline is shorter."""
AT_ONCE_SECONDS = 0.4
"""Longest time of an event that is not held, in seconds. Each wait that a test excludes is longer."""
MANAGED = {"AWS_LAMBDA_INITIALIZATION_TYPE": "lambda-managed-instances"}


class Scene:
    """A supervisor in a thread, with the API and the shippers of the test."""

    def __init__(self, api: FakeLambdaApi, shippers: ScriptedShippers, environ: Mapping[str, str]) -> None:
        self.api = api
        self.shippers = shippers
        self.exit_code: int | None = None
        variables = {name.encode(): value.encode() for name, value in environ.items()}
        self._supervisor = Supervisor(api=LambdaApi(api.address), environ=variables)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.exit_code = self._supervisor.run()

    @property
    def port(self) -> int:
        """Port of the last subscription."""
        request = [one for one in self.api.requests if one.path in (TELEMETRY, LOGS)][-1]
        return urlsplit(json.loads(request.body)["destination"]["URI"]).port or 0

    @property
    def failures(self) -> int:
        """Consecutive failures that the supervisor has counted."""
        return self._supervisor._policy.failures

    def invoke(self, *, seconds: float | None = 30.0) -> float:
        """Hand out an INVOKE event and return the seconds until the next request for an event."""
        return self.api.hold(event("INVOKE", seconds=seconds, requestId="r"))

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition that the supervisor's thread changes. Raise TimeoutError."""
        end = time.monotonic() + WAIT_SECONDS
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError
            time.sleep(0.005)

    def finish(self) -> int | None:
        """Wait for the end of the supervisor and return its exit code."""
        self._thread.join(WAIT_SECONDS)
        assert not self._thread.is_alive()
        return self.exit_code

    def shutdown(self, *, seconds: float = 2.0) -> float:
        """Hand out SHUTDOWN and return the seconds until the supervisor has ended."""
        began = time.monotonic()
        if self._thread.is_alive():
            self.api.wait_for_next(1)
            self.api.hand_out(event("SHUTDOWN", seconds=seconds, shutdownReason="spindown"))
        self.finish()
        return time.monotonic() - began

    def close(self) -> None:
        """Close the sockets that the exit of the process closes in production."""
        self._supervisor._api.connection.close()
        for owner in (self._supervisor._endpoint, self._supervisor._shipper and self._supervisor._shipper._channel):
            if owner:
                owner.close()


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Return the file to which the scripted shippers write their packets."""
    return tmp_path / "packets"


@contextlib.contextmanager
def scene(
    record: Path,
    *behaviours: str,
    answers: Mapping[str, Sequence[int]] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Scene]:
    """Start a supervisor whose shippers have these behaviours; end it with SHUTDOWN."""
    shippers = ScriptedShippers(record, *behaviours)
    with pytest.MonkeyPatch.context() as patch, fake_lambda_api(answers) as api:
        patch.setattr(ShipperProcess, "start", shippers.start)
        defaults = {"LOGFERRY_SPOOL_DIR": str(record.parent / "spool"), "LOGFERRY_PORT": str(free_port())}
        it = Scene(api, shippers, {**defaults, **(environ or {})})
        try:
            yield it
        finally:
            it.shutdown(seconds=0.5)
            it.close()
            shippers.end_all()


def free_port() -> int:
    """Return a port on which no socket listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def is_refused(port: int) -> bool:
    """Return whether the kernel refuses connections to a port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.fixture
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the limits after which a shipper counts as hung."""
    monkeypatch.setattr(shipper_process, "PING_AFTER_SECONDS", 0.1)
    monkeypatch.setattr(shipper_process, "HUNG_SECONDS", 0.3)


@pytest.fixture
def no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restart without a delay, as often as in production."""
    monkeypatch.setattr(supervisor, "RESTART_DELAYS_SECONDS", (0.0,) * len(RESTART_DELAYS_SECONDS))


# --- the restart policy


def test_restart_policy_returns_each_delay_in_turn_for_consecutive_failures() -> None:
    """The delays grow within a series of failures."""
    policy = RestartPolicy()
    assert [policy.on_failure() for _ in RESTART_DELAYS_SECONDS] == list(RESTART_DELAYS_SECONDS)


def test_restart_policy_gives_up_at_the_sixth_consecutive_failure() -> None:
    """The number of restarts in a series is limited."""
    policy = RestartPolicy()
    assert [policy.on_failure() is None for _ in range(7)] == [False] * 5 + [True, True]


def test_restart_policy_begins_a_new_series_after_a_success() -> None:
    """Failures count only if no event was completed and no object stored between them."""
    policy = RestartPolicy()
    for _ in range(4):
        policy.on_failure()
    policy.on_success()
    assert policy.failures == 0
    assert [policy.on_failure() for _ in RESTART_DELAYS_SECONDS] == list(RESTART_DELAYS_SECONDS)


# --- the start


def test_supervisor_registers_and_subscribes_before_the_first_event_request(record: Path) -> None:
    """The order is register, subscribe, next; the subscription names the listening port."""
    with scene(record, "done") as it:
        it.invoke()
        assert [request.path for request in it.api.requests[:3]] == [REGISTER, TELEMETRY, NEXT]
        assert json.loads(it.api.requests[0].body) == {"events": ["INVOKE", "SHUTDOWN"]}
        assert not is_refused(it.port)
        assert it.api.requests[1].body.decode().count(it.shippers.starts[0].path_token) == 1


def test_supervisor_starts_the_shipper_after_the_first_event_request(record: Path) -> None:
    """A child that imports before would delay the registration."""
    with scene(record, "done") as it:
        it.invoke()
        assert it.shippers.starts[0].at >= it.api.to(TELEMETRY)[0].at
        assert [(start.restarts, start.quiet) for start in it.shippers.starts] == [(0, False)]


def test_supervisor_uses_another_port_if_the_wished_one_is_taken(record: Path) -> None:
    """A second extension on the port must not prevent the subscription."""
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        with scene(record, "done", environ={"LOGFERRY_PORT": str(port)}) as it:
            it.invoke()
            assert it.port not in (0, port)
            assert not is_refused(it.port)


# --- holding events


def test_event_is_held_until_the_shipper_is_done(record: Path) -> None:
    """The next request follows DONE for this event."""
    with scene(record, "slow") as it:
        assert 0.3 <= it.invoke() < 5
        assert it.shippers.events(0) == [(b"E1", "INVOKE")]


def test_event_is_released_before_its_deadline_if_the_shipper_is_not_done(record: Path) -> None:
    """The margin before the deadline belongs to Lambda; a busy shipper stays in place."""
    with scene(record, "never done") as it:
        assert 0.5 <= it.invoke(seconds=0.8) < 0.8 + BUSY_SECONDS
        assert len(it.shippers.starts) == 1


def test_event_with_a_deadline_in_the_past_is_dispatched_and_not_held(record: Path) -> None:
    """A wall clock that differs from Lambda's must not hold an invocation."""
    with scene(record, "never done") as it:
        assert it.invoke(seconds=-5) < AT_ONCE_SECONDS
        it.until(lambda: it.shippers.events(0) == [(b"E1", "INVOKE")])


def test_late_done_does_not_release_the_following_event(record: Path) -> None:
    """DONE counts only for the event with its number."""
    with scene(record, "slow") as it:
        it.invoke(seconds=0.2)
        assert it.invoke() >= 0.3
        assert it.shippers.events(0) == [(b"E1", "INVOKE"), (b"E2", "INVOKE")]


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(event("SNAPSHOT", requestId="r"), id="unknown type"),
        pytest.param(event("invoke", requestId="r"), id="type in lower case"),
        pytest.param(b'{"deadlineMs":99999999999999,"requestId":"r"}', id="no type"),
        pytest.param(b'{"eventType":7,"deadlineMs":99999999999999}', id="type is a number"),
        pytest.param(b'{"eventType":"","deadlineMs":99999999999999}', id="empty type"),
        pytest.param(b"[]", id="not an object"),
        pytest.param(b"", id="empty body"),
    ],
)
def test_event_of_an_unknown_type_is_acknowledged_at_once(record: Path, document: bytes) -> None:
    """The next request follows without the shipper, which would not answer such an event before its deadline."""
    with scene(record, "never done") as it:
        it.api.wait_for_next(1)
        assert it.api.hold(document) < AT_ONCE_SECONDS
        assert it.invoke(seconds=0.3) < 0.3 + BUSY_SECONDS
        it.until(lambda: it.shippers.events(0) == [(b"E1", "INVOKE")])


def test_event_with_incomplete_fields_is_dispatched_and_held_for_a_short_time(
    record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shipper cannot recognize the end of such an invocation and would hold it until the deadline."""
    monkeypatch.setattr(lambda_api, "INCOMPLETE_EVENT_SECONDS", 0.3)
    with scene(record, "never done") as it:
        it.api.wait_for_next(1)
        for document in (event("INVOKE"), event("INVOKE", requestId=""), event("INVOKE", seconds=None, requestId="r")):
            assert 0.3 <= it.api.hold(document) < 3
        assert it.shippers.events(0) == [(b"E1", "INVOKE"), (b"E2", "INVOKE"), (b"E3", "INVOKE")]


# --- restarts


def test_event_is_dispatched_again_as_a_retry_if_the_shipper_exits(record: Path) -> None:
    """The new shipper receives the same event, marked as a retry, and the invocation continues."""
    with scene(record, "exits on an event", "done") as it:
        assert it.invoke() < 5
        assert it.shippers.events(0) == [(b"E1", "INVOKE")]
        assert it.shippers.events(1) == [(b"A1", "INVOKE")]
        assert [(start.restarts, start.quiet) for start in it.shippers.starts] == [(0, False), (1, True)]


@pytest.mark.usefixtures("short_silence")
def test_shipper_is_replaced_if_it_does_not_answer_a_ping(record: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """An event is held for the limit of silence, and the new shipper receives it as a retry."""
    with scene(record, "hangs on an event", "done") as it:
        assert 0.35 <= it.invoke() < 5
        assert it.shippers.events(1) == [(b"A1", "INVOKE")]
    assert "logferry warning: the shipper did not answer a ping: signal 9; restarting it" in capfd.readouterr().out


@pytest.mark.usefixtures("short_silence")
def test_shipper_that_answers_pings_is_not_replaced(record: Path) -> None:
    """A long upload is not a failure."""
    with scene(record, "never done") as it:
        assert it.invoke(seconds=1.5) > 1.0
        assert len(it.shippers.starts) == 1


@pytest.mark.usefixtures("short_silence")
def test_hung_shipper_is_replaced_on_managed_instances_without_any_event(
    record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check runs at an interval, because SHUTDOWN is the only event there."""
    monkeypatch.setattr(supervisor, "MANAGED_PING_SECONDS", 0.35)
    with scene(record, "hangs", "done", environ=MANAGED) as it:
        it.until(lambda: len(it.shippers.starts) == 2)
        assert json.loads(it.api.to(REGISTER)[0].body) == {"events": ["SHUTDOWN"]}


def test_shipper_that_exits_between_events_is_restarted_without_an_event(record: Path) -> None:
    """Records keep arriving between events, so the restart does not wait for an invocation."""
    with scene(record, "exits at once", "exits at once", "done") as it:
        it.until(lambda: len(it.shippers.starts) == 3)
        assert it.invoke() < AT_ONCE_SECONDS
        assert it.shippers.starts[2].at - it.shippers.starts[0].at < 5


def test_restart_waits_for_its_delay_after_repeated_failures(record: Path) -> None:
    """A shipper that fails at each start must not take the function's CPU; events are not held meanwhile."""
    with scene(record, "exits at once", "exits at once", "exits at once", "done") as it:
        it.until(lambda: len(it.shippers.starts) == 3)
        assert it.invoke() < AT_ONCE_SECONDS
        it.until(lambda: len(it.shippers.starts) == 4)
        assert it.shippers.starts[3].at - it.shippers.starts[2].at >= RESTART_DELAYS_SECONDS[2]


@pytest.mark.usefixtures("no_delays")
@pytest.mark.parametrize(("delay", "dispatched"), [(0.0, 1), (60.0, 0)])
def test_event_starts_the_shipper_whose_restart_is_due(
    monkeypatch: pytest.MonkeyPatch, delay: float, dispatched: int
) -> None:
    """The end of a shipper and an event may arrive together; a restart that is due later does not delay the event."""
    sent: list[bytes] = []

    class InstantShipper:
        """A shipper that completes each event at once."""

        def send(self, packet: bytes) -> None:
            """Record the packet."""
            sent.append(packet)

        def receive(self, _seconds: float) -> bytes:
            """Return DONE for the only event."""
            return ipc.DONE + b"1"

        def seconds_until_check(self) -> float:
            """Return any time."""
            return 1.0

    it = Supervisor(api=LambdaApi(b"127.0.0.1:1"), environ={})

    def start() -> None:
        it._restart_at = None
        it._shipper = cast("ShipperProcess", InstantShipper())

    monkeypatch.setattr(it, "_start_shipper", start)
    it._restart_at = time.monotonic() + delay
    document = event("INVOKE", seconds=30.0, requestId="r")
    it._dispatch_event(document, last=False)
    assert sent == [ipc.EVENT + b"1\n" + document] * dispatched


def test_failures_are_counted_from_the_last_completed_event(record: Path) -> None:
    """Shippers that complete an event between their failures are restarted indefinitely."""
    with scene(record, "exits on its second event") as it:
        for _ in range(8):
            assert it.invoke() < 5
        assert [it.shippers.events(index)[0][0] for index in range(8)] == [b"E1"] + [b"A%d" % n for n in range(2, 9)]
        assert not is_refused(it.port)


@pytest.mark.usefixtures("no_delays")
def test_failures_are_counted_from_the_last_upload_where_no_event_is_dispatched(record: Path) -> None:
    """An upload proves that the shipper works, so the series of failures ends."""
    with scene(record, *["uploads and exits"] * 9, "done", environ=MANAGED) as it:
        it.until(lambda: len(it.shippers.starts) == 10)
        assert not is_refused(it.port)


def test_failed_fork_is_repeated_as_any_other_failure(record: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A function that has used up its processes must not fail because of logferry."""
    with scene(record, "no process", "no process", "done") as it:
        it.until(lambda: len(it.shippers.starts) == 3)
        assert it.invoke() < AT_ONCE_SECONDS
        it.until(lambda: it.shippers.events(2) == [(b"E1", "INVOKE")])
    assert "the shipper could not be started: [Errno 11] Resource temporarily" in capfd.readouterr().out


def test_late_done_ends_a_series_of_failures(record: Path) -> None:
    """A shipper that completes an event after its deadline works, although no event is held any more."""
    with scene(record, "exits on an event", "very slow") as it:
        assert it.invoke(seconds=1.2) < 1.2 + BUSY_SECONDS
        assert it.failures == 1
        it.until(lambda: len(it.shippers.starts) == 2 and it.failures == 0)


# --- idling


@pytest.mark.usefixtures("no_delays")
def test_supervisor_idles_after_six_consecutive_failures(record: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The supervisor stops the restarts with one message; events are acknowledged at once and the port is closed."""
    with scene(record, "exits on an event") as it:
        assert it.invoke() < 5
        assert len(it.shippers.starts) == 6
        assert [it.shippers.events(index)[0][0] for index in range(6)] == [b"E1"] + [b"A1"] * 5
        assert it.invoke() < AT_ONCE_SECONDS
        assert len(it.shippers.starts) == 6
        assert is_refused(it.port)
        assert it.shutdown() < 1
        assert it.exit_code == 0
    output = capfd.readouterr().out
    assert output.count("not restarted after 6 consecutive failures") == 1
    assert output.count("the function is not affected") == 1


@pytest.mark.parametrize(
    ("answers", "requests"),
    [
        pytest.param({TELEMETRY: [202]}, 1, id="no telemetry"),
        pytest.param({TELEMETRY: [400], LOGS: [202]}, 4, id="no API accepts a schema"),
        pytest.param({TELEMETRY: [403], LOGS: [403]}, 4, id="both APIs are closed"),
    ],
)
def test_supervisor_idles_if_every_subscription_is_refused(
    record: Path, capfd: pytest.CaptureFixture[str], answers: dict[str, list[int]], requests: int
) -> None:
    """Without telemetry there is nothing to ship: one message, no shipper, a closed port."""
    with scene(record, "done", answers=answers) as it:
        assert it.invoke() < AT_ONCE_SECONDS
        assert not it.shippers.starts
        assert is_refused(it.port)
        assert len(it.api.to(TELEMETRY)) + len(it.api.to(LOGS)) == requests
    output = capfd.readouterr().out
    assert output.count("the Telemetry API is not available, so no record is stored (2025-01-29: ") == 1
    assert output.count("\n") == 1


def test_supervisor_idles_if_the_shipper_reports_invalid_settings(
    record: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The shipper has logged the mistakes, so the supervisor neither restarts it nor logs another message."""
    with scene(record, "invalid settings") as it:
        assert it.invoke() < 5
        it.until(lambda: is_refused(it.port))
        assert it.invoke() < AT_ONCE_SECONDS
        assert len(it.shippers.starts) == 1
    assert capfd.readouterr().out == ""


def test_supervisor_only_registers_for_shutdown_if_logferry_is_disabled(record: Path) -> None:
    """LOGFERRY_ENABLED=false costs a registration: no subscription, no shipper, no port."""
    port = free_port()
    with scene(record, "done", environ={"LOGFERRY_ENABLED": "false", "LOGFERRY_PORT": str(port)}) as it:
        it.api.wait_for_next(1)
        assert [request.path for request in it.api.requests] == [REGISTER, NEXT]
        assert json.loads(it.api.requests[0].body) == {"events": ["SHUTDOWN"]}
        assert is_refused(port)
        assert it.shutdown() < 1
        assert (it.exit_code, it.shippers.starts) == (0, [])


def test_supervisor_idles_if_no_socket_can_listen(
    record: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """An exit would fail the function, so the supervisor registers and acknowledges every event."""

    def listen(_: int) -> socket.socket:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(endpoint, "listen", listen)
    with scene(record, "done") as it:
        assert it.invoke() < AT_ONCE_SECONDS
        assert [request.path for request in it.api.requests] == [REGISTER, NEXT, NEXT]
    assert "the listener cannot be opened, so no record is stored ([Errno 24]" in capfd.readouterr().out


# --- the end


def test_shutdown_is_the_last_event_and_is_held_until_done(record: Path) -> None:
    """The supervisor exits with 0 after DONE and asks for no further event."""
    with scene(record, "slow") as it:
        it.invoke()
        assert 0.3 <= it.shutdown(seconds=5) < 4
        assert it.shippers.events(0) == [(b"E1", "INVOKE"), (b"E2", "SHUTDOWN")]
        assert (it.exit_code, len(it.api.to(NEXT))) == (0, 2)


def test_shutdown_ends_before_its_deadline_if_the_shipper_is_not_done(record: Path) -> None:
    """Lambda kills every process at the deadline; the exit comes before it."""
    with scene(record, "never done") as it:
        it.api.wait_for_next(1)
        assert 0.6 < it.shutdown(seconds=0.9) < 0.9
        assert it.exit_code == 0


@pytest.mark.parametrize("fields", [{"shutdownReason": "unheard-of"}, {}, {"shutdownReason": None}])
def test_shutdown_with_an_unknown_reason_is_handled_like_any_other(record: Path, fields: dict[str, Any]) -> None:
    """The list of reasons in the documentation is incomplete."""
    with scene(record, "done") as it:
        it.api.wait_for_next(1)
        it.api.hand_out(event("SHUTDOWN", **fields))
        assert it.finish() == 0
        assert it.shippers.events(0) == [(b"E1", "SHUTDOWN")]


def test_shutdown_does_not_wait_for_the_date_of_a_restart(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The records in the spool have no later chance, so the shipper starts at once, also after another failure."""
    monkeypatch.setattr(supervisor, "RESTART_DELAYS_SECONDS", (30.0,) * 5)
    with scene(record, "exits at once", "exits on an event", "done") as it:
        it.until(lambda: it.failures == 1)
        assert it.invoke() < AT_ONCE_SECONDS
        assert it.shutdown(seconds=10) < 8
        assert it.shippers.events(1) == [(b"E2", "SHUTDOWN")]
        assert it.shippers.events(2) == [(b"A2", "SHUTDOWN")]


@pytest.mark.parametrize("status", [403, 500])
def test_refused_event_request_ends_the_extension_like_shutdown(
    record: Path, capfd: pytest.CaptureFixture[str], status: int
) -> None:
    """The shipper may upload pending records; then the supervisor exits."""
    with scene(record, "done") as it:
        it.invoke()
        it.api.hand_out(b'{"errorType":"Extension.InvalidExtensionState"}', status=status)
        assert it.finish() == 0
        assert it.shippers.events(0)[-1] == (b"E2", "SHUTDOWN")
    assert f"logferry error: the next event was refused: {status} " in capfd.readouterr().out


# --- LOGFERRY_STRICT


def test_strict_mode_fails_the_init_phase_with_the_mistakes(record: Path) -> None:
    """The deployment fails instead of running without logs."""
    with scene(record, "invalid settings", environ={"LOGFERRY_STRICT": "true"}) as it:
        assert it.finish() == 1
        document = json.loads(it.api.to(INIT_ERROR)[0].body)
        assert document == {"errorMessage": "DESTINATION is not set", "errorType": "Extension.ConfigInvalid"}
        assert it.api.to(INIT_ERROR)[0].headers["Lambda-Extension-Function-Error-Type"] == "Extension.ConfigInvalid"
        assert not it.api.to(NEXT)


def test_strict_mode_fails_the_init_phase_if_the_shipper_exits_without_a_verdict(record: Path) -> None:
    """Missing libraries count as a mistake in the deployment."""
    with scene(record, "exits at once", environ={"LOGFERRY_STRICT": "true"}) as it:
        assert it.finish() == 1
        assert "ended before it had read its settings" in json.loads(it.api.to(INIT_ERROR)[0].body)["errorMessage"]


def test_strict_mode_reports_mistakes_that_end_inside_a_character(record: Path) -> None:
    """The shipper cuts a long text at the size of a packet."""
    with scene(record, "long mistakes", environ={"LOGFERRY_STRICT": "true"}) as it:
        assert it.finish() == 1
        assert json.loads(it.api.to(INIT_ERROR)[0].body)["errorMessage"] == "is 'a\ufffd"


def test_strict_mode_continues_with_valid_settings(record: Path) -> None:
    """The same shipper then handles the events."""
    with scene(record, "ready", environ={"LOGFERRY_STRICT": "true"}) as it:
        assert it.invoke() < 5
        assert it.shippers.events(0) == [(b"E1", "INVOKE")]
        assert not it.api.to(INIT_ERROR)


def test_strict_mode_continues_without_a_verdict_after_its_limit(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow start must not exceed the limit of the Init phase."""
    monkeypatch.setattr(supervisor, "STRICT_SECONDS", 0.2)
    with scene(record, "done", environ={"LOGFERRY_STRICT": "true"}) as it:
        assert it.invoke() < 5
        assert not it.api.to(INIT_ERROR)


# --- settings


@pytest.mark.parametrize("value", ["ture", "", " ", "2", "enabled"])
def test_invalid_value_of_enabled_does_not_switch_logferry_off(record: Path, value: str) -> None:
    """Only a word for false disables logferry; the shipper reports any other text."""
    with scene(record, "done", environ={"LOGFERRY_ENABLED": value}) as it:
        it.invoke()
        assert json.loads(it.api.to(REGISTER)[0].body) == {"events": ["INVOKE", "SHUTDOWN"]}
        assert len(it.shippers.starts) == 1


@pytest.mark.parametrize("value", ["false", "FALSE", "0", " no ", "Off"])
def test_each_word_for_false_disables_logferry(record: Path, value: str) -> None:
    """The supervisor accepts the same words as the table of settings."""
    with scene(record, "done", environ={"LOGFERRY_ENABLED": value}) as it:
        it.api.wait_for_next(1)
        assert not it.api.to(TELEMETRY)


@pytest.mark.parametrize("value", ["0", "80", "9001", "70000", "x", "9" * 5000])
def test_invalid_port_is_replaced_by_the_default(record: Path, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor never listens on a port that the shipper rejects."""
    monkeypatch.setattr(values, "DEFAULT_PORT", port := free_port())
    with scene(record, "done", environ={"LOGFERRY_PORT": value}) as it:
        it.invoke()
        assert it.port == port


@pytest.mark.parametrize("value", ["spool", "", "~/spool"])
def test_invalid_spool_directory_is_replaced_by_the_default(
    record: Path, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path depends on a working directory that Lambda does not specify."""
    monkeypatch.setattr(values, "DEFAULT_SPOOL_DIR", str(record.parent / "default"))
    with scene(record, "done", environ={"LOGFERRY_SPOOL_DIR": value}) as it:
        it.invoke()
        assert (record.parent / "default" / "path-token").read_text() == it.shippers.starts[0].path_token


@pytest.mark.parametrize(
    ("value", "subscribed"),
    [("platform, Extension", True), ("function", False), ("extensions", False), ("no extension", False)],
)
def test_records_of_extensions_are_subscribed_only_for_a_valid_list(
    record: Path, value: str, *, subscribed: bool
) -> None:
    """A text that merely contains the word is a mistake, which the shipper reports."""
    with scene(record, "done", environ={"LOGFERRY_TYPES": value}) as it:
        it.invoke()
        assert ("extension" in json.loads(it.api.to(TELEMETRY)[0].body)["types"]) is subscribed


@pytest.mark.parametrize(("level", "written"), [("info", 2), ("INFO", 2), ("warn", 1), ("", 1), ("error", 0)])
def test_invalid_log_level_is_replaced_by_the_default(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], level: str, written: int
) -> None:
    """Messages below the level are not written; the default level is warning."""
    monkeypatch.setitem(posix.environ, b"LOGFERRY_LOG_LEVEL", level.encode())
    supervisor.log("info", "one")
    supervisor.log("warning", "two")
    assert capfd.readouterr().out.count("\n") == written


def test_messages_are_json_if_lambda_logs_json(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The format follows AWS_LAMBDA_LOG_FORMAT, as the shipper's messages do."""
    monkeypatch.setitem(posix.environ, b"AWS_LAMBDA_LOG_FORMAT", b"JSON")
    supervisor.log("warning", 'a "quoted"\nreason')
    expected = {"level": "warning", "logger": "logferry", "message": 'a "quoted"\nreason'}
    assert json.loads(capfd.readouterr().out) == expected
