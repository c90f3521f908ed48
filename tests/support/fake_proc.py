"""A directory in the form of /proc, for tests that damage its files or replace its processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

STAT = "cpu  {busy} 0 0 4000 50 0 0 {steal} 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\n"
NET_DEV = "head\nhead\n lo: 9 0 0 0 0 0 0 0 9 0 0 0 0 0 0 0\n eth0: {received} 0 0 0 0 0 0 0 {sent} 0 0 0 0 0 0 0\n"


class FakeProc:
    """Processes and counters of a machine."""

    def __init__(self, root: Path) -> None:
        """Begin with the counters of a machine and without a process."""
        self.root = root
        self.clocks: dict[int, int] = {}
        root.mkdir(exist_ok=True)
        (root / "net").mkdir()
        self.counters()
        self.write("meminfo", "MemTotal: 200 kB\nMemFree: 1 kB\nMemAvailable: 150 kB\n")

    def write(self, name: str, text: str) -> None:
        """Replace the content of a file in place, as the kernel does."""
        (self.root / name).write_text(text)

    def counters(self, *, busy: int = 100, steal: int = 1, received: int = 10, sent: int = 20) -> None:
        """Set the counters of the machine."""
        self.write("stat", STAT.format(busy=busy, steal=steal))
        self.write("net/dev", NET_DEV.format(received=received, sent=sent))

    def process(self, pid: int, *, parent: int = 1, cpu_ns: int = 1000, handler: bool = False, rss: int = 10) -> None:
        """Start a process."""
        folder = self.root / str(pid)
        (folder / "fd").mkdir(parents=True)
        for number in range(3):
            (folder / "fd" / str(number)).touch()
        (folder / "stat").write_text(f"{pid} (a name) S {parent} 1 1 0\n")
        (folder / "environ").write_text("PATH=/bin\0" + ("_HANDLER=app.handler\0" if handler else ""))
        (folder / "status").write_text(f"Name:\ta name\nVmHWM:\t{2 * rss} kB\nVmRSS:\t{rss} kB\nThreads:\t4\n")
        self.clocks[pid] = cpu_ns

    def end(self, pid: int) -> None:
        """End a process."""
        folder = self.root / str(pid)
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink()
        folder.rmdir()
        del self.clocks[pid]

    def cpu_ns(self, pid: int) -> int:
        """Return the clock of a process. Raise OSError if it has ended."""
        if pid not in self.clocks:
            raise ProcessLookupError(pid)
        return self.clocks[pid]
