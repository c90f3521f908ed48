"""The sending end of logferry's event pipe.

Guarantees:
- A line costs one `write` that does not block. It is in the pipe completely or not at all.
- A line that does not fit is counted, and the next line that fits reports the number in `lost`.
- Each process numbers the lines that it has written, so that a gap shows. A forked process starts at 1.

Design: writes of up to 4,096 bytes to a pipe are atomic among all its writers, so threads need no lock here. Only the
counter of lost lines has one. It is reentrant, because a signal handler of the function may make a call.

References: pipe(7), PIPE_BUF.
"""

import os
from _thread import RLock
from itertools import count

LINE_LIMIT = 4096
"""Maximum size of a line, in bytes (PIPE_BUF)."""


class EventPipe:
    """A pipe to which threads and forked processes write lines."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.reset()
        os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        """Start the numbers of this process."""
        self.pid = os.getpid()
        self.next_number = count(1).__next__
        self.failed = self.lost = 0
        self.failure = ""
        self.lock = RLock()

    def send(self, members: str) -> None:
        """Write one line with these members of a JSON object, or count it as lost."""
        if self.descriptor < 0:
            return
        # The subtraction is exact without concurrent losses, and otherwise explained by `lost`.
        number = self.next_number() - self.failed
        lost, more = self.take_lost() if self.lost else (0, "")
        line = '{%s,"by":"python","pid":%d,"n":%d%s}\n' % (members, self.pid, number, more)
        try:
            if len(line) > LINE_LIMIT:
                raise BlockingIOError
            os.write(self.descriptor, line.encode("ascii"))
        except BlockingIOError:
            self.failed += 1
            self.add_lost(lost + 1)
        except OSError:  # the function has closed the descriptor
            self.descriptor = -1

    def add_lost(self, number: int, failure: str = "") -> None:
        """Count lines that the next line reports as lost. `failure` is the class of an exception of the hook."""
        with self.lock:
            self.lost += number
            self.failure = failure or self.failure

    def take_lost(self) -> "tuple[int, str]":
        """Return the number of lost lines with the members that report them, and count from zero again."""
        with self.lock:
            lost, failure = self.lost, self.failure
            self.lost, self.failure = 0, ""
        return lost, ',"lost":%d' % lost + (',"hookError":"%s"' % failure if failure else "")
