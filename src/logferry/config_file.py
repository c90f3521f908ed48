"""The configuration file: settings in TOML, for those that no environment variable sets.

Guarantees:
- An environment variable takes precedence over the file. An empty variable counts as not set.
- No content of the file raises an exception. All mistakes are found at once, and each names the file and the key.
- A mistake in the value of a setting names the file and the key too (`attribute`), not the variable.
- The file is read without blocking: a pipe or a device at its path is a mistake.

Design: a value of the file becomes the text of the variable, so there is one parser for both. The module is imported
only if LOGFERRY_CONFIG is set. The supervisor reads the file on the serial part of the cold start, where the import of
`tomllib` would cost 15 ms. It therefore parses a file only if a line begins with a name that the supervisor reads.

References: TOML 1.0.0.
"""

import posix

from logferry import values

TYPE_CHECKING = False  # type checkers treat this name as true; `import typing` would cost each cold start 4 ms
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

MAX_BYTES = 65_536
"""Maximum size of the file. All environment variables of a function together have 4 KB."""
ONLY_VARIABLES = ("CALLS", "CALLS_URL", "CALLS_HEADERS", "CALLS_IGNORE", "NEXT_WRAPPER")
"""Settings that the processes of the function read. They have the variables, and not the file."""
SHARED_WITH_EVENTS = ("PORT", "SPOOL_DIR")
"""Settings that these processes read too if the function sends events."""
CALLS_THAT_NEED_EVENTS = ("summary", "each")
SUPERVISOR = ("PORT", "SPOOL_DIR", "ENABLED", "STRICT", "TYPES", "LOG_LEVEL", "EVENTS")
"""Settings that the supervisor reads."""
OPEN_FLAGS = posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC
FILE_TYPE, REGULAR = 0o170000, 0o100000
"""Mask and value of the file type in `st_mode` (inode(7)). `import stat` would be one more import."""
_PREFIX = "LOGFERRY_"


class ConfigFile:
    """The settings of a file, and the mistakes in it."""

    __slots__ = ("_keys", "_wrong", "mistakes", "path", "texts")

    def __init__(self, path: str) -> None:
        """Read the file. Raise nothing: a failure is one of `mistakes`."""
        self.path = path
        self.texts: dict[str, str] = {}
        """Text of the variable for each setting, by the name without the prefix."""
        self.mistakes: list[str] = []
        self._keys: dict[str, str] = {}
        """Key as the file has it, for each name in `texts` and `_wrong`."""
        self._wrong: dict[str, str] = {}
        """Mistake in the value of each other name. `check_names` reports it if the name is that of a setting."""
        try:
            document = _parsed(read(path))
        except (OSError, ValueError, RecursionError) as error:
            self.mistakes.append(f"the configuration file {path} {_reason(error)}")
            return
        from logferry import toml_settings  # noqa: PLC0415 - the supervisor rarely needs it

        for entry in toml_settings.entries(document):
            self._add(*entry)

    def check_names(self, known: list[str]) -> None:
        """Remove the texts whose key is no setting, and note the mistakes. `known` has the names of all settings."""
        for name in sorted(self._keys.keys() - set(known)):
            import difflib  # noqa: PLC0415 - only a mistake needs it

            key = self._keys.pop(name)
            self.texts.pop(name, None)
            self._wrong.pop(name, None)
            near = difflib.get_close_matches(name.upper().removeprefix(_PREFIX), known, n=1)
            remedy = f"use {_key_like(key, near[0])}" if near else "remove it"
            self.mistakes.append(f"{self.path}: {key!a} is not a setting: {remedy}")
        for name, mistake in self._wrong.items():
            self.mistakes.append(f"{self.path}: {self._keys.pop(name)} {mistake}")

    def under(self, variables: "Mapping[str, str]") -> dict[str, str]:
        """Return the texts of all settings. `variables` are those of the environment, without the prefix."""
        given = {name: text for name, text in variables.items() if text}
        for name in given:
            self._keys.pop(name, None)
        events = given.get("EVENTS") or self.texts.get("EVENTS", "")
        if events.lower() in values.TRUE_WORDS or given.get("CALLS", "").lower() in CALLS_THAT_NEED_EVENTS:
            shared = [name for name in SHARED_WITH_EVENTS if name in self._keys]
            self.mistakes += [self._only_variable(self._keys[name], name) for name in shared]
        return {**variables, **self.texts, **given}

    def attribute(self, mistakes: list[str]) -> list[str]:
        """Return all mistakes, with the file and its keys instead of the variables that the file replaces."""
        return [*self.mistakes, *(self._attributed(mistake) for mistake in mistakes)]

    def place(self, name: str) -> str:
        """Return where a setting has its value: a key of the file, or a variable."""
        return f"{self._keys[name]} in {self.path}" if name in self._keys else _PREFIX + name

    def _add(self, key: str, name: str, text: str, mistake: str) -> None:
        # Five cases: 1. no setting can have the key, 2. a setting that must be a variable, 3. two keys of one setting,
        # 4. a wrong value, 5. a text.
        if not name:
            self.mistakes.append(f"{self.path}: {key!a} {mistake}")
        elif name in ONLY_VARIABLES or name == "CONFIG":
            self.mistakes.append(self._only_variable(key, name))
        elif name in self._keys:
            self.mistakes.append(f"{self.path}: {key} and {self._keys[name]} are the same setting: remove one of them")
        elif mistake:
            self._wrong[name], self._keys[name] = mistake, key
        else:
            self.texts[name], self._keys[name] = text, key

    def _only_variable(self, key: str, name: str) -> str:
        if name == "CONFIG":
            return f"{self.path}: {key} cannot be in the file: remove it"
        return (
            f"{self.path}: {key} is needed in the processes of the function, which do not read this file: set the "
            f"environment variable {_PREFIX}{name} instead"
        )

    def _attributed(self, mistake: str) -> str:
        import re  # noqa: PLC0415 - only a mistake needs it

        first = re.match(rf"{_PREFIX}([A-Z0-9_]+)", mistake)
        # Two cases: 1. the mistake is in the file, 2. it is elsewhere, and the file has another setting that it names.
        if first and first[1] in self._keys:
            return f"{self.path}: " + re.sub(rf"{_PREFIX}([A-Z0-9_]+)", lambda m: self._keys.get(m[1], m[0]), mistake)
        return re.sub(rf"{_PREFIX}([A-Z0-9_]+)", lambda match: self.place(match[1]), mistake)


def supervisor_values(environ: "Mapping[bytes, bytes]") -> dict[bytes, bytes]:
    """Return the variables that the file adds for the supervisor. The shipper reports the mistakes."""
    path = environ.get(b"LOGFERRY_CONFIG", b"").decode("utf-8", "surrogateescape").strip()
    try:
        is_needed = _has_name_of_supervisor(read(path))
    except (OSError, ValueError):
        return {}
    found = ConfigFile(path).texts if is_needed else {}
    names = [name for name in SUPERVISOR if name in found and not environ.get(f"{_PREFIX}{name}".encode(), b"").strip()]
    return {f"{_PREFIX}{name}".encode(): found[name].encode("utf-8", "surrogateescape") for name in names}


def read(path: str) -> bytes:
    """Return the content of the file. Raise OSError or ValueError with the reason."""
    if not path.startswith("/"):
        raise ValueError("has no absolute path: use a path such as /var/task/logferry.toml")
    fd = posix.open(path, OPEN_FLAGS)
    try:
        if posix.fstat(fd).st_mode & FILE_TYPE != REGULAR:
            raise ValueError("is not a regular file: correct LOGFERRY_CONFIG")
        content = b""
        while more := posix.read(fd, MAX_BYTES + 1 - len(content)):
            content += more
    finally:
        posix.close(fd)
    if len(content) > MAX_BYTES:
        raise ValueError(f"is larger than {MAX_BYTES} bytes: remove what is not a setting")
    return content


def _has_name_of_supervisor(content: bytes) -> bool:
    """Return whether a line begins with a key that the supervisor reads, or with one that has an escape."""
    names = tuple([name.lower().encode() for name in SUPERVISOR])
    for line in content.split(b"\n"):
        key = line.lstrip(b" \t\xef\xbb\xbf")
        if key.lstrip(b"\"'").startswith(names) or (key.startswith(b'"') and b"\\" in key):
            return True
    return False


def _parsed(content: bytes) -> "dict[str, Any]":
    import tomllib  # noqa: PLC0415 - costs 15 ms, and the supervisor rarely needs it

    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 at byte {error.start}: save it in this encoding") from error
    except ValueError as error:
        raise ValueError(f"is not valid TOML: {error}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror}): correct LOGFERRY_CONFIG, or deploy the file"
    if isinstance(error, RecursionError):
        return "is not valid: its arrays or tables are nested too deeply"
    return str(error)


def _key_like(key: str, name: str) -> str:
    """Return the key of a suggested setting, in the same table as a wrong key."""
    group, dot, _ = key.rpartition(".")
    wanted = name.lower()
    return f"{group}.{wanted.removeprefix(f'{group}_')}" if dot and wanted.startswith(f"{group}_") else wanted
