"""Processes that this one has started, as the kernel shows them to everyone."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A running process.

    Attributes:
        argv: its arguments, each followed by a NUL.
        ours: whether this process started it, or one that it started.
    """

    pid: int
    argv: bytes
    ours: bool

    def environ(self) -> bytes:
        """Return its environment, or nothing if it has ended."""
        with suppress(OSError):
            return Path(f"/proc/{self.pid}/environ").read_bytes()
        return b""


def processes() -> list[Process]:
    """Return what runs on this machine."""
    parents: dict[int, int] = {}
    found: dict[int, bytes] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                # The name of the program may have spaces and brackets in it.
                status = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                parents[int(entry.name)] = int(status[1])
                found[int(entry.name)] = (entry / "cmdline").read_bytes()
    return [
        Process(pid=pid, argv=argv, ours=_is_below(pid, parents))
        for pid, argv in found.items()
    ]


def running_docker() -> list[Process]:
    """Return the docker commands and plugins that this process runs."""
    return [
        process
        for process in processes()
        if process.ours
        and any(
            argument.rpartition(b"/")[2] in (b"docker", b"docker-buildx")
            for argument in process.argv.split(b"\0")
        )
    ]


def _is_below(pid: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid == os.getpid():
            return True
    return False
