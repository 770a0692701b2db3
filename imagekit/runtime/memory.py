"""What the kernel says of the memory of this container."""

from __future__ import annotations

from imagekit.records import dataclass

_V2 = "/sys/fs/cgroup"
_V1 = "/sys/fs/cgroup/memory"
#: Version 1 says "no limit" with a number that no machine has as memory.
_UNLIMITED = 1 << 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """How it is now.

    Attributes:
        killed: how many processes were killed because the limit was reached.
        limit: bytes that may be taken; None without a limit.
        peak: most bytes that were taken; None where the kernel does not tell.
    """

    killed: int
    limit: int | None
    peak: int | None


def memory() -> Memory:
    """Return what control groups tell, in their version 2 or else 1."""
    events = _read(f"{_V2}/memory.events")
    if events is not None:
        return Memory(
            killed=_counted(events, "oom_kill"),
            limit=_number(_read(f"{_V2}/memory.max")),
            peak=_number(_read(f"{_V2}/memory.peak")),
        )
    limit = _number(_read(f"{_V1}/memory.limit_in_bytes"))
    return Memory(
        killed=_counted(_read(f"{_V1}/memory.oom_control") or "", "oom_kill"),
        limit=limit if limit is None or limit < _UNLIMITED else None,
        peak=_number(_read(f"{_V1}/memory.max_usage_in_bytes")),
    )


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:
        return None  # another version, or a kernel that does not tell


def _counted(text: str, name: str) -> int:
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _number(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if text.isdecimal() else None
