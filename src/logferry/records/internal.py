"""The mark of a delivery that logferry made itself: nobody else's passes for it.

Whoever can post may write `"type":"logferry.dropped"`, so a type proves nothing. What is marked is the delivery, beside
its bytes, where no post reaches: the journal keeps the mark with each body (a bit of the frame's head), and the reader
of deliveries believes our own types in a marked one only.
"""

from __future__ import annotations


class Own(bytes):
    """A delivery of our own."""

    __slots__ = ()
