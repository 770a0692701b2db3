"""JSON documents as bytes."""

from __future__ import annotations

import json
from typing import Any

from imagekit.errors import LayoutError


def canonical_json(document: object) -> bytes:
    """Return *document* as JSON with sorted keys, no spaces, in UTF-8."""
    text = json.dumps(
        document, sort_keys=True, ensure_ascii=False, separators=(",", ":")
    )
    return text.encode()


def read_json(content: bytes, what: str) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        LayoutError: *content* is not one; *what* says what it should be.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise LayoutError(f"the {what} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise LayoutError(f"wanted a JSON object as {what}, found {document!r}")
    return document
