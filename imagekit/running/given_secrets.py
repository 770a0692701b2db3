"""The values of all secrets that the tasks of a run may be given."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from imagekit.errors import PlanError
from imagekit.secret import Secret
from imagekit.secret_values import secret_value


def known_values(
    secrets: Iterable[Secret], environ: Mapping[str, str] = os.environ
) -> frozenset[str]:
    """Return the values of *secrets*; one that has none will be missed when needed."""
    found = set()
    for secret in secrets:
        try:
            found.add(secret_value(secret, environ=environ))
        except PlanError:
            continue
    return frozenset(found)
