"""Failed resolutions as errors that name the layers and requirements at fault."""

from __future__ import annotations

import re
from collections.abc import Iterable

from imagekit.errors import (
    ConflictError,
    ImageKitError,
    InvalidLayerError,
    NoWheelError,
    ResolutionError,
    StoreError,
)
from imagekit.python_inputs.uv_project import normalized
from imagekit.resolve.credentials import redact
from imagekit.resolve.target import Target
from imagekit.resolve.uv import UvError
from imagekit.resolve.wanted import Wanted

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NO_WHEEL = re.compile(
    r"(?:Because|because|and) (?P<what>\S+) has no (?:usable )?wheels"
    r"|(?P<other>\S+) has no wheels with a matching"
)


def resolution_failure(wanted: Wanted, target: Target, error: UvError) -> ImageKitError:
    """Return what to raise where uv has no answer for a layer."""
    if error.is_full_disk:
        return StoreError(f"the disk is full: uv {error.text}", hint=error.hint)
    if not error.is_conflict:
        invalid = _invalid_requirement(wanted)
        if invalid is not None:
            return invalid
        return ResolutionError(
            f"can't resolve {wanted.title}: {error.text}",
            hint=error.hint,
            origin=wanted.origin,
        )
    return alone_failure(wanted, target, error)


def alone_failure(wanted: Wanted, target: Target, error: UvError) -> ImageKitError:
    """Return what to raise where a layer excludes itself."""
    found = _NO_WHEEL.search(error.text)
    if found:
        name = found["what"] or found["other"]
        return NoWheelError(
            f"{name} has no wheel for {target.identity}: {error.text}",
            hint="ask for a version that has one, or choose another Python or base",
            origin=wanted.origin,
        )
    return ResolutionError(
        f"nothing satisfies {wanted.title} for {target.identity}: {error.text}",
        hint=error.hint,
        origin=wanted.origin,
    )


def conflict(wanted: Wanted, earlier: Iterable[Wanted], text: str) -> ConflictError:
    """Return the error for *wanted*, which does not go with one of *earlier*."""
    words = {
        normalized(word.strip(".,"))
        for word in _WORD.findall(re.sub(r"[<>=!~]=?[^\s,]*", " ", text))
    }
    candidates = list(earlier)
    others = [item for item in candidates if item.names & words] or candidates[-1:]
    theirs = "; ".join(
        f"{_named(item, words)} (defined at {item.origin})" for item in others
    )
    return ConflictError(
        f"{_named(wanted, words)} can't be installed together with {theirs}: {text}",
        hint="relax one of the requirements that are named",
        origin=wanted.origin,
    )


def _named(wanted: Wanted, words: set[str | None]) -> str:
    """Return the requirements of *wanted* that *words* mention, or all of them."""
    from imagekit.resolve.wanted import requirement_name  # noqa: PLC0415

    texts = [text for text in wanted.texts if requirement_name(text) in words]
    return ", ".join(map(repr, texts)) if texts else wanted.title


def _invalid_requirement(wanted: Wanted) -> InvalidLayerError | None:
    from packaging.requirements import (  # noqa: PLC0415  (slow, and rarely needed)
        InvalidRequirement,
        Requirement,
    )

    for line in wanted.lines:
        if "://" in line.text.partition("@")[0]:
            continue
        try:
            Requirement(line.text)
        except InvalidRequirement as error:
            reason = str(error).splitlines()[0].rstrip(".")
            return InvalidLayerError(
                f"invalid requirement {redact(line.text)!r} in {line.where}: "
                f"{reason[:1].lower()}{reason[1:]}",
                hint="write it like 'name>=1.0' (PEP 508)",
                origin=wanted.origin,
            )
    return None
