"""Amounts of cpu and bytes as Kubernetes writes them, exactly."""

from __future__ import annotations

_UNITS = (
    (("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1024),
    (("k", "M", "G", "T", "P", "E"), 1000),
)


def cpu_amount(cores: float) -> str:
    """Return a number of cores in thousandths, the least that there is, rounded up."""
    from fractions import Fraction  # noqa: PLC0415  (slow to import)

    # The shortest text is what the user wrote: 1.1 is no bit more.
    thousandths = -(-Fraction(repr(cores)) * 1000 // 1)
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)


def byte_amount(count: int) -> str:
    """Return a number of bytes, with the unit that makes for the shortest text."""
    found = [str(count)]
    for units, base in _UNITS:
        amount = count
        for unit in units:
            if amount % base:
                break
            amount //= base
            found.append(f"{amount}{unit}")
    return min(found, key=len)
