"""What the stream has told about invocations: which have ended, which still owe their report.

Pure state, fed with deliveries. It remembers a bounded number of requests, newest kept.
"""

from __future__ import annotations

from collections import OrderedDict

from logferry.records import attribution, decoder

REMEMBERED = 256
CUT_BYTES = 256 * 1024
"""A delivery that ends in a cut record is at least as large as the smallest `maxBytes` there is."""


class Invocations:
    """The requests seen in the stream and by INVOKE events."""

    def __init__(self, running: str | None = None) -> None:
        self.running = running
        """The request between `platform.start` and its end, None outside or where several run at once."""
        self.reports = 0
        """How many `platform.report` have come in."""
        self._reader = decoder.Reader()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._unreported: OrderedDict[str, None] = OrderedDict()

    def began(self, request_id: str) -> None:
        """An INVOKE event has named it."""
        _remember(self._unreported, request_id)

    def see(self, body: bytes) -> None:
        """Take in a delivery. One that names no platform event, and in which no record was cut, is not parsed."""
        may_be_cut = len(body) >= CUT_BYTES and not decoder.ends_whole(body)
        if decoder.mentions_platform(body) or self._reader.holds or may_be_cut:
            for event in self._reader.read(body):
                if not isinstance(event, decoder.Event):
                    continue  # a run of the function's lines
                self.running = attribution.running_after(self.running, event)
                if event.type in (decoder.START, decoder.RUNTIME_DONE, decoder.REPORT):
                    self._note(event.type, attribution.stated_request(event) or "")

    @property
    def in_the_middle(self) -> bool:
        """Whether a record was cut, and the next delivery brings its rest: not the moment to seal."""
        return self._reader.holds

    def ended(self, request_id: str) -> bool:
        """Whether its runtime is done with it."""
        return request_id in self._ended

    def may_run(self, request_id: str, repeated: bool) -> bool:
        """Return whether the runtime may still work on a request.

        A repeated event, whose first shipper died, may have ended in a segment that is uploaded and removed. It runs
        only if the journal shows that it does.
        """
        if repeated and self.running != request_id:
            return False
        return not self.ended(request_id)

    def all_reported(self) -> bool:
        """Whether every invocation known has its `platform.report` in."""
        return not self._unreported

    def _note(self, kind: str, request_id: str) -> None:
        if kind == decoder.START:
            _remember(self._unreported, request_id)
        else:
            _remember(self._ended, request_id)
        if kind == decoder.REPORT:
            self.reports += 1
            self._unreported.pop(request_id, None)


def _remember(among: OrderedDict[str, None], request_id: str) -> None:
    among[request_id] = None
    if len(among) > REMEMBERED:
        among.popitem(last=False)
