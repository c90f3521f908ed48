"""Reader of ELF files: machine, loader, required libraries and their search path.

Guarantees:
- The functions are pure, except `is_elf`. They need no program of the host, so they read files of
  any architecture.

Design: the values come from the program headers and the dynamic segment, which the kernel and the
loader use. Section headers are for debuggers; `stripped` removes them together with the symbol
table.

References: System V ABI, chapters 4 and 5 ("Object files", "Program loading and dynamic linking").
"""

import struct
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"\x7fELF"

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_DYNAMIC = struct.Struct("<qQ")

_CLASS_64_LITTLE_ENDIAN = b"\x02\x01"
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB, _DT_RPATH, _DT_RUNPATH = 1, 5, 15, 29
_SHT_SYMTAB = 2
_SHOFF_AT, _SHENTSIZE_AT = 40, 58
"""Offsets of e_shoff, and of e_shentsize, e_shnum and e_shstrndx: the header fields that describe
the section headers."""


@dataclass(frozen=True)
class Elf:
    """The values of one file that its loader uses."""

    machine: int
    interpreter: str | None
    needed: tuple[str, ...]
    rpath: str | None
    runpath: str | None
    has_symbol_table: bool
    end_of_segments: int
    """Offset of the bytes that are never mapped: symbols, debug information and section headers."""


def is_elf(path: Path) -> bool:
    """Return whether a file is an ELF file, by its first four bytes."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read(data: bytes) -> Elf:
    """Return the values of an ELF file. Raises ValueError unless it is a 64-bit little-endian file, as on Lambda."""
    if data[:4] != MAGIC or data[4:6] != _CLASS_64_LITTLE_ENDIAN:
        raise ValueError("not a 64-bit little-endian ELF file")
    _, _, machine, _, _, phoff, shoff, _, _, _, phnum, _, shnum, _ = _HEADER.unpack_from(data)
    segments = [_SEGMENT.unpack_from(data, phoff + i * _SEGMENT.size) for i in range(phnum)]
    sections = [_SECTION.unpack_from(data, shoff + i * _SECTION.size) for i in range(shnum)] if shoff else []
    end_of_headers = phoff + phnum * _SEGMENT.size
    names = _dynamic_names(data, segments)
    return Elf(
        machine=machine,
        interpreter=next((_text(data, s[2]) for s in segments if s[0] == _PT_INTERP), None),
        needed=tuple(names.get(_DT_NEEDED, ())),
        rpath=next(iter(names.get(_DT_RPATH, ())), None),
        runpath=next(iter(names.get(_DT_RUNPATH, ())), None),
        has_symbol_table=any(section[1] == _SHT_SYMTAB for section in sections),
        end_of_segments=max([end_of_headers, *(s[2] + s[5] for s in segments)]),
    )


def stripped(data: bytes) -> bytes:
    """Return the file without the bytes that are never mapped; unchanged if it has no symbol table."""
    elf = read(data)
    if not elf.has_symbol_table:
        return data
    short = bytearray(data[: elf.end_of_segments])
    struct.pack_into("<Q", short, _SHOFF_AT, 0)
    struct.pack_into("<HHH", short, _SHENTSIZE_AT, 0, 0, 0)
    return bytes(short)


def _dynamic_names(data: bytes, segments: list[tuple[int, ...]]) -> dict[int, list[str]]:
    """Return the strings of the dynamic segment by tag; an empty dictionary for a static file."""
    dynamic = next((s for s in segments if s[0] == _PT_DYNAMIC), None)
    if dynamic is None:
        return {}
    entries = list(_DYNAMIC.iter_unpack(data[dynamic[2] : dynamic[2] + dynamic[5] // _DYNAMIC.size * _DYNAMIC.size]))
    address = next((value for tag, value in entries if tag == _DT_STRTAB), None)
    if address is None:
        return {}
    strings = next(s[2] + address - s[3] for s in segments if s[0] == _PT_LOAD and s[3] <= address < s[3] + s[5])
    names: dict[int, list[str]] = {}
    for tag, value in entries:
        if tag == 0:  # DT_NULL ends the table
            break
        if tag in (_DT_NEEDED, _DT_RPATH, _DT_RUNPATH):
            names.setdefault(tag, []).append(_text(data, strings + value))
    return names


def _text(data: bytes, offset: int) -> str:
    return data[offset : data.index(b"\0", offset)].decode()
