"""The API's refusals, as errors that say what to do and quote no values.

A refusal is a ``Status`` object. Its message is written for people and quotes what was
sent: fields of objects, whole objects where they can't be decoded. What was sent may be
data of the user's, so of messages only those parts are used that have a known form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from imagekit.cluster.api_errors import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
    QuotaError,
    UnauthorizedError,
)
from imagekit.cluster.kinds import Target, target_of

_VERBS = {"GET": "get", "POST": "create", "PUT": "update"}
_TEMPORARY = frozenset({408, 429, 500, 502, 503, 504})
_NOT_DONE = 429
_ROLE = "docs/kubernetes.md"
_LONGEST = 500

_DENIED = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]*)"'
    r' in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]*)")?'
)
_EXCEEDED = re.compile(
    r"exceeded quota: (?P<quota>[^,]*), requested: (?P<requested>.*?), "
    r"used: (?P<used>.*?), limited: (?P<limited>[^\s]*)"
)
_UNSET = re.compile(r"failed quota: (?P<quota>[^:]*): must specify (?P<wanted>\S*)")
#: Refusals that only last while the API server or a controller comes up.
COMING_UP = ("not yet ready to handle request", "status unknown for quota")
#: ``Invalid value: "x": must be ...``, of which the value may be secret.
_WITH_VALUE = re.compile(
    r"^(?:Invalid value|Unsupported value|Duplicate value|Not found|Too many): "
    r'(?:"(?:[^"\\]|\\.)*"|[\w.+-]+): ([a-z].*)$'
)
_WITHOUT_VALUE = re.compile(
    r"^(?:Required value|Forbidden|Too long|Internal error): ([a-z]+ .*)$"
)
#: What follows a value that is an object.
_AFTER_OBJECT = re.compile(r"[})\]]: ([a-z][\w ]*)$")
#: What an object has that no schema knows, named by its path alone.
_TYPED = re.compile(
    r"failed to create typed patch object[^:]*: (?:errors:\s*)?(\.[^\s:]+): ([a-z ]+)"
)


def refusal(
    status: int,
    content: bytes,
    *,
    method: str,
    path: str,
    retry_after: str | None = None,
) -> ClusterError:
    """Return the error that an answer stands for.

    Args:
        status: its HTTP status.
        content: its body.
        method: of the request.
        path: of the request.
        retry_after: the header of that name.
    """
    document = _document(content)
    target = target_of(path)
    reason = str(document.get("reason") or "") or None
    message = str(document.get("message") or "")
    found = _error(status, reason, message, document, method, target)
    found.status = status
    found.reason = reason
    found.temporary = found.temporary or _is_temporary(status, message, document)
    found.perhaps_done = found.temporary and status in _TEMPORARY - {_NOT_DONE}
    found.retry_after = _seconds(retry_after, document)
    return found


def quota_error(message: str) -> QuotaError | None:
    """Return the error that *message* of a refusal or event tells of, or None."""
    if exceeded := _EXCEEDED.search(message):
        found = _quota(
            exceeded["quota"],
            *(_amounts(exceeded[part]) for part in ("requested", "used", "limited")),
        )
        wanted = ", ".join(
            f"{name}={amount} (of {found.limited.get(name, '?')}, "
            f"{found.used.get(name, '?')} in use)"
            for name, amount in found.requested.items()
        )
        found.message = f"the quota {found.quota!r} is exceeded: requested {wanted}"
    elif unset := _UNSET.search(message):
        found = _quota(unset["quota"], {}, {}, {})
        found.message = f"the quota {found.quota!r} wants {unset['wanted']} to be set"
    else:
        return None
    found.args = (found.message,)
    return found


def _quota(
    name: str, requested: dict[str, str], used: dict[str, str], limited: dict[str, str]
) -> QuotaError:
    found = QuotaError(
        "",
        hint="wait for other work to end, ask for less with Resources(), or have the "
        "quota raised (kubectl describe resourcequota)",
    )
    found.quota, found.requested = name, requested
    found.used, found.limited = used, limited
    return found


def _error(
    status: int,
    reason: str | None,
    message: str,
    document: Mapping[str, Any],
    method: str,
    target: Target,
) -> ClusterError:
    verb = _verb(method, target)
    what = f"can't {verb} {target}"
    match status:
        case 401:
            return UnauthorizedError(
                f"{what}: the API does not accept the credentials",
            )
        case 403:
            return _forbidden(message, verb, target)
        case 404:
            return _not_found(what, document, target)
        case 409 if reason == "AlreadyExists":
            return AlreadyExistsError(f"{what}: it exists")
        case 409:
            return _conflict(what, document)
        case 410:
            return GoneError(f"{what}: what it went on from is no longer known")
        case 400 | 413 | 415 | 422:
            return _invalid(what, status, message, document, target)
        case _ if typed := _TYPED.search(message):
            # Releases before 1.23 answer 500 to what no schema knows.
            found = InvalidError(f"{what}: {typed[1]}: {typed[2].strip()}")
            found.fields = ((typed[1], typed[2].strip()),)
            return found
        case _:
            called = f" ({reason})" if reason else ""
            return ClusterError(f"{what}: the API answered {status}{called}")


def _is_temporary(status: int, message: str, document: Mapping[str, Any]) -> bool:
    if any(text in message for text in COMING_UP):
        return True
    if _TYPED.search(message):
        return False
    # Two creates at once counted themselves into the same quota.
    quota = (document.get("details") or {}).get("kind") == "resourcequotas"
    return status in _TEMPORARY or (status == 409 and quota)  # noqa: PLR2004  (HTTP's)


def _forbidden(message: str, verb: str, target: Target) -> ForbiddenError:
    if quota := quota_error(message):
        return quota
    denied = _DENIED.search(message)
    if denied is None:
        text = message.partition(" is forbidden: ")[2] or "no reason given"
        # ConfigMaps and secrets have nothing that a policy could name but their data.
        known = "policy" if target.resource in ("configmaps", "secrets") else text
        return ForbiddenError(
            f"can't {verb} {target}: the cluster refuses it: {known:.{_LONGEST}}",
            hint="change the object, or ask who runs the cluster",
        )
    group = f".{denied['group']}" if denied["group"] else ""
    name, slash, part = denied["resource"].partition("/")
    resource = f"{name}{group}{slash}{part}"
    namespace = denied["namespace"] or ""
    where = f" in namespace {namespace!r}" if namespace else ""
    user = denied["user"]
    anonymous = user == "system:anonymous"
    found = ForbiddenError(
        f"{user!r} may not {denied['verb']} {resource}{where}",
        hint="no credentials were sent or accepted: log in again"
        if anonymous
        else f"bind {user!r} to the Role in {_ROLE}",
    )
    found.verb, found.resource, found.namespace = denied["verb"], resource, namespace
    return found


def _not_found(what: str, document: Mapping[str, Any], target: Target) -> NotFoundError:
    details = document.get("details") or {}
    if details.get("kind") == "namespaces" and target.namespace:
        return NotFoundError(
            f"there is no namespace {target.namespace!r}",
            hint=f"kubectl create namespace {target.namespace}",
        )
    return NotFoundError(f"{what}: there is none")


def _conflict(what: str, document: Mapping[str, Any]) -> ConflictError:
    causes = _causes(document)
    owners = sorted(
        {
            f"{field} is set by {owner[1]!r}"
            for cause, field, text in causes
            if cause == "FieldManagerConflict"
            and (owner := re.search(r'conflict with "([^"]*)"', text))
        }
    )
    if owners:
        return ConflictError(f"{what}: {', '.join(owners)}")
    return ConflictError(f"{what}: it was changed meanwhile, or is another one")


def _invalid(
    what: str, status: int, message: str, document: Mapping[str, Any], target: Target
) -> InvalidError:
    # ConfigMaps and secrets are data: nothing that is said of them is known to be safe.
    data = target.resource in ("configmaps", "secrets")
    fields = tuple(
        (field, reason if data else _harmless(reason, text))
        for reason, field, text in _causes(document)
    )
    if not fields and (typed := _TYPED.search(message)):
        fields = ((typed[1], typed[2].strip()),)
    shown = "; ".join(f"{field}: {text}" for field, text in fields)
    found = InvalidError(
        f"{what}: {shown or f'the API answered {status}'}",
        # A log's container that waits is told by a message alone.
        hint=_waiting(message) if target.resource == "pods/log" else None,
    )
    found.fields = fields
    return found


def _waiting(message: str) -> str | None:
    found = re.search(r"is waiting to start: ([\w ]{1,80})", message)
    return f"the container waits: {found[1]}" if found else None


def _harmless(reason: str, text: str) -> str:
    """Return what a cause says without the value that it quotes."""
    for form in (_WITH_VALUE, _WITHOUT_VALUE, _AFTER_OBJECT):
        if found := form.search(text):
            return f"{found[1]:.{_LONGEST}}"
    return reason


def _causes(document: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return reason, field and message of each cause."""
    causes = (document.get("details") or {}).get("causes") or []
    return [
        tuple(str(cause.get(key) or "") for key in ("reason", "field", "message"))  # type: ignore[misc]  # three of them
        for cause in causes
        if isinstance(cause, dict)
    ]


def _verb(method: str, target: Target) -> str:
    if method == "GET" and not target.name:
        return "list"
    return _VERBS.get(method, method.lower())


def _amounts(text: str) -> dict[str, str]:
    pairs = (item.partition("=") for item in text.split(","))
    return {name.strip(): amount.strip() for name, _, amount in pairs}


def _seconds(header: str | None, document: Mapping[str, Any]) -> float | None:
    """Return what the API asks to wait; it uses seconds, never dates."""
    if header and header.strip().isdecimal():
        return float(header)
    asked = (document.get("details") or {}).get("retryAfterSeconds")
    return float(asked) if isinstance(asked, int) else None


def _document(content: bytes) -> Mapping[str, Any]:
    """Return the ``Status``, or nothing where something else answered."""
    try:
        document = json.loads(content)
    except ValueError:
        return {}
    is_status = isinstance(document, dict) and document.get("kind") == "Status"
    return document if is_status else {}
