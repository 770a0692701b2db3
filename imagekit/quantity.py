"""Amounts of cpu and bytes, as Kubernetes writes them: ``500m``, ``1Gi``, ``1e3``.

For bytes a ``B`` may follow (``1GiB``, ``500MB``), as the documentation of the
reference has it.
"""

from __future__ import annotations

import re

from imagekit.errors import DefinitionError

_AMOUNT = re.compile(
    r"(?P<whole>[0-9]{1,30})?(?:\.(?P<part>[0-9]{0,30}))?"
    r"(?:[eE](?P<power>[+-]?[0-9]{1,2})|(?P<unit>[A-Za-z]*))"
)
#: Unit → numerator and denominator of what it stands for.
_UNITS = {
    "": (1, 1),
    "n": (1, 10**9),
    "u": (1, 10**6),
    "m": (1, 10**3),
    "k": (10**3, 1),
    "M": (10**6, 1),
    "G": (10**9, 1),
    "T": (10**12, 1),
    "P": (10**15, 1),
    "E": (10**18, 1),
    "Ki": (2**10, 1),
    "Mi": (2**20, 1),
    "Gi": (2**30, 1),
    "Ti": (2**40, 1),
    "Pi": (2**50, 1),
    "Ei": (2**60, 1),
}
_MOST_BYTES = 2**63 - 1
_MOST_CORES = 10**6
_SIZE_HINT = 'write an amount of bytes like "512Mi", "1.5Gi" or "2G"'
_CORES_HINT = 'write a number of cores like 2, 0.5 or "500m"'


def cores(what: str, value: object) -> float:
    """Return a number of processor cores; *what* names it in messages.

    Raises:
        DefinitionError: *value* is no amount, or is negative.
    """
    found: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        found = float(value) if 0 <= value <= _MOST_CORES else None
    elif isinstance(value, str):
        amount = _amount(value, _UNITS)
        if amount is not None:
            found = amount[0] / amount[1]
    if found is None or found > _MOST_CORES:
        raise DefinitionError(
            f"wanted {what} as a number of cores, found {value!r}", hint=_CORES_HINT
        )
    return found


def size(what: str, value: object) -> int:
    """Return a number of bytes, at least 1; *what* names it in messages.

    Raises:
        DefinitionError: *value* is no amount, or is less than a byte.
    """
    amount = _amount(value, _BYTE_UNITS) if isinstance(value, str) else None
    if amount is None:
        raise DefinitionError(
            f"wanted {what} as an amount of bytes, found {value!r}", hint=_SIZE_HINT
        )
    numerator, denominator = amount
    if numerator < denominator:
        milli = isinstance(value, str) and value.endswith("m")
        raise DefinitionError(
            f"wanted {what} of at least one byte, found {value!r}",
            hint="'m' is a thousandth, 'M' a million" if milli else _SIZE_HINT,
        )
    found = -(-numerator // denominator)
    if found > _MOST_BYTES:
        raise DefinitionError(
            f"wanted {what} of at most {_MOST_BYTES} bytes, found {value!r}",
            hint=_SIZE_HINT,
        )
    return found


def _amount(text: str, units: dict[str, tuple[int, int]]) -> tuple[int, int] | None:
    """Return numerator and denominator of an amount, exactly; None if it is none."""
    match = _AMOUNT.fullmatch(text.strip())
    if match is None or not (match["whole"] or match["part"]):
        return None
    part = match["part"] or ""
    numerator, denominator = int((match["whole"] or "") + part), 10 ** len(part)
    if match["power"] is not None:
        power = int(match["power"])
        return numerator * 10 ** max(power, 0), denominator * 10 ** max(-power, 0)
    if match["unit"] not in units:
        return None
    times, over = units[match["unit"]]
    return numerator * times, denominator * over


_BYTE_UNITS = {
    **_UNITS,
    **{f"{unit}B": value for unit, value in _UNITS.items() if unit not in "num"},
    "B": (1, 1),
    "KB": (10**3, 1),
}
