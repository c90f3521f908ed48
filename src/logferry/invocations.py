"""What the stream has told about invocations: which have ended, which still owe their report.

Pure state, fed with deliveries. It remembers a bounded number of requests, newest kept.
"""

from __future__ import annotations

from collections import OrderedDict

from logferry import telemetry

REMEMBERED = 256


class Invocations:
    """The requests seen in the stream and by INVOKE events."""

    def __init__(self, running: str | None = None) -> None:
        self.running = running
        """The request between `platform.start` and its end, None outside or where several run at once."""
        self.reports = 0
        """How many `platform.report` have come in."""
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._unreported: OrderedDict[str, None] = OrderedDict()

    def began(self, request_id: str) -> None:
        """An INVOKE event has named it."""
        _remember(self._unreported, request_id)

    def see(self, body: bytes) -> bool:
        """Take in a delivery; True when it told something about an invocation."""
        if not telemetry.mentions_platform(body):
            return False
        told = False
        for event in telemetry.events(body):
            self.running = telemetry.running_after(self.running, event)
            if event.type in (telemetry.START, telemetry.RUNTIME_DONE, telemetry.REPORT):
                told = True
                self._note(event.type, telemetry.stated_request(event) or "")
        return told

    def ended(self, request_id: str) -> bool:
        """Whether its runtime is done with it."""
        return request_id in self._ended

    def all_reported(self) -> bool:
        """Whether every invocation known has its `platform.report` in."""
        return not self._unreported

    def _note(self, kind: str, request_id: str) -> None:
        if kind == telemetry.START:
            _remember(self._unreported, request_id)
        else:
            _remember(self._ended, request_id)
        if kind == telemetry.REPORT:
            self.reports += 1
            self._unreported.pop(request_id, None)


def _remember(among: OrderedDict[str, None], request_id: str) -> None:
    among[request_id] = None
    if len(among) > REMEMBERED:
        among.popitem(last=False)
