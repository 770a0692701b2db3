"""Bytes and seconds as people read them."""

from __future__ import annotations

_THOUSAND = 1000
_TENTH = 0.1
_TEN = 10
_MINUTE = 60


def size_text(size: float) -> str:
    """Return *size* in decimal units.

    >>> [size_text(n) for n in (0, 999, 16_600_000, 21_474_836_480)]
    ['0 B', '999 B', '16.6 MB', '21.5 GB']
    """
    unit = "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        # 999.95 would be written as 1000.0.
        if size < _THOUSAND - (0.05 if unit != "B" else 0) or unit == "TB":
            break
        size /= _THOUSAND
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def seconds_text(seconds: float) -> str:
    """Return a duration.

    >>> [seconds_text(s) for s in (0.02, 0.34, 1.26, 12.3, 75)]
    ['20 ms', '0.3 s', '1.3 s', '12 s', '1 min 15 s']
    """
    if seconds < _TENTH:
        return f"{seconds * 1000:.0f} ms"
    if round(seconds) < _TEN:
        return f"{seconds:.1f} s"
    if round(seconds) < _MINUTE:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    return f"{minutes} min {rest} s"
