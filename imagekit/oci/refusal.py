"""A registry's error replies, as exceptions that say what to do."""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from imagekit.errors import AuthenticationError, RegistryError
from imagekit.oci.address import redact

if TYPE_CHECKING:
    from imagekit.oci.transport import Reply

_LONGEST_REASON = 300
_UNAUTHORIZED, _FORBIDDEN, _TOO_LARGE, _TOO_MANY = 401, 403, 413, 429
_TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})


def refusal(reply: Reply) -> RegistryError:
    """Return the error that *reply* stands for."""
    code, reason = _diagnosis(reply.content)
    spent = reply.status == _TOO_MANY and _quota_spent(reply)
    url = redact(reply.url)
    said = ": ".join(part for part in (code, reason) if part)
    kind = (
        AuthenticationError
        if reply.status in (_UNAUTHORIZED, _FORBIDDEN)
        else RegistryError
    )
    return kind(
        f"{urlsplit(url).netloc!r} answered {reply.status}"
        f"{f' ({said})' if said else ''} to {reply.method} {url}",
        status=reply.status,
        code=code,
        method=reply.method,
        url=url,
        temporary=reply.status in _TEMPORARY and not spent,
        retry_after=_retry_after(reply),
        hint=_hint(reply.status, spent=spent),
    )


def surprise(reply: Reply, wanted: str) -> RegistryError:
    """Return the error for a reply that is no refusal, but not what was *wanted*."""
    url = redact(reply.url)
    return RegistryError(
        f"wanted {wanted} from {urlsplit(url).netloc!r}, found something else "
        f"in its answer {reply.status} to {reply.method} {url}",
        status=reply.status,
        method=reply.method,
        url=url,
    )


def _diagnosis(content: bytes) -> tuple[str | None, str]:
    """Return code and message of an error body (distribution-spec, "Error Codes")."""
    try:
        first = json.loads(content)["errors"][0]
        code, reason = first.get("code"), first.get("message")
    except (ValueError, LookupError, TypeError, AttributeError):
        return None, ""
    printable = "".join(c for c in str(reason or "") if c.isprintable())
    return str(code) if code else None, printable[:_LONGEST_REASON]


def _retry_after(reply: Reply) -> float | None:
    """Return the seconds of a Retry-After header (RFC 9110, 10.2.3)."""
    value = reply.header("Retry-After")
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    from datetime import UTC, datetime  # noqa: PLC0415

    try:
        then = parsedate_to_datetime(value)
    except ValueError:
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return max(0.0, (then - datetime.now(UTC)).total_seconds())


def _quota_spent(reply: Reply) -> bool:
    """Return whether this is Docker Hub's pull limit: hours, which no retry waits."""
    remaining = (reply.header("RateLimit-Remaining") or "").partition(";")[0].strip()
    return remaining == "0" or b"pull rate limit" in reply.content


def _hint(status: int, *, spent: bool) -> str | None:
    if spent:
        return (
            "the registry's pull limit is used up: log in for a higher one ('docker "
            "login'), or name a mirror with IMAGEKIT_REGISTRY_MIRRORS"
        )
    match status:
        case 401 | 403:
            return (
                "log in with 'docker login', check that the login may do this, and "
                "check the image's name: many registries answer the same where there "
                "is no such repository"
            )
        case 413:
            return "a proxy before the registry limits the size of a request: raise it"
        case 429:
            return "the registry asks for fewer requests: try again later"
        case _:
            return None
