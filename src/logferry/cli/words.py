"""Numbers with their nouns, as people write them."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """`1 segment`, `2 segments`, `0 segments`: for nouns that take an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
