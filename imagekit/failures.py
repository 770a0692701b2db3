"""Exceptions as documents, and back: what a task raises is raised again as it was.

Nothing is pickled. An exception is made again only of a class that is loaded where it
is decoded, without its ``__init__``; of any other class, it is a
:class:`~imagekit.task_errors.CustomError` that says what it was.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from imagekit.errors import ImageKitError
from imagekit.failure_texts import (
    REPR,
    TEXT,
    RemoteTraceback,
    first_of_chain,
    message_text,
    shown,
    traceback_text,
)
from imagekit.task_errors import CustomError
from imagekit.values import Json, decode, document_bytes, encode
from imagekit.values.class_names import class_name, find_class
from imagekit.values.scalars import text_document, text_of

__all__ = ["RemoteTraceback", "decode_failure", "encode_failure", "failure_text"]

#: Bytes of one argument or attribute up to which it is kept as it is.
_VALUE = 1 << 16
#: How far causes of causes are followed, and groups in groups.
_DEPTH = 50
#: Modules of imagekit that define errors.
_OURS = (
    "imagekit.errors",
    "imagekit.task_errors",
    "imagekit.interface",
    "imagekit.cluster.api_errors",
)
#: Attribute of an exception that holds the document it was made of.
_KEPT = "__imagekit_failure__"


def encode_failure(
    error: BaseException, *, renamed: Mapping[str, str] | None = None
) -> Json:
    """Return the document of *error*, with its causes and where it was raised.

    Arguments and attributes that can't be kept become texts.

    Args:
        error: what was raised.
        renamed: see :func:`imagekit.values.encode`.
    """
    document = _encoded(error, renamed or {}, set(), _DEPTH)
    if "traceback" in document:
        return document  # of where it was raised
    document["traceback"] = text_document(traceback_text(error))
    return document


def decode_failure(
    document: Json,
    *,
    renamed: Mapping[str, str] | None = None,
    modules: Iterable[str] = (),
    remote: bool = True,
    kept: bool = False,
) -> BaseException:
    """Return the exception of *document*.

    Args:
        document: as :func:`encode_failure` made it, maybe in another process.
        renamed: modules of that process, and what they are called here.
        modules: those that may be imported to find the exception's class.
        remote: whether it was raised elsewhere; then printing the exception shows
            where, as a :class:`RemoteTraceback`.
        kept: whether :func:`encode_failure` gives the same document again. That is for
            who only passes it on, and has none of the user's classes.
    """
    try:
        error = _decoded(document, renamed or {}, frozenset(modules), _DEPTH)
    except Exception as other:  # noqa: BLE001  (documents may be anything)
        return CustomError(
            f"an exception that can't be read ({other!r:.200}): {document!r:.200}"
        )
    text = failure_text(document)
    if remote and text:
        first = first_of_chain(error)
        first.__cause__ = RemoteTraceback(text)
    if kept:
        vars(error)[_KEPT] = document
    return error


def failure_text(document: Json) -> str:
    """Return the traceback of *document*, as Python printed it where it was raised."""
    try:
        return text_of(document["traceback"])
    except (KeyError, TypeError, ValueError):
        return ""


def _with_notes(document: Json, error: BaseException) -> dict[str, Json]:
    """Return the document of *error*, with the notes that it was given since."""
    notes = [
        text_document(str(note)[:TEXT]) for note in getattr(error, "__notes__", ())
    ]
    return {**document, "notes": notes} if notes else dict(document)


def _encoded(
    error: BaseException, renamed: Mapping[str, str], seen: set[int], depth: int
) -> dict[str, Json]:
    kept = vars(error).get(_KEPT)
    if kept is not None:
        return _with_notes(kept, error)
    seen.add(id(error))
    document: dict[str, Json] = {
        "class": class_name(type(error), renamed),
        "message": text_document(message_text(error)),
        "attributes": [
            [text_document(name), _value(value, renamed)]
            for name, value in sorted(_attributes(error).items())
        ],
    }
    notes = getattr(error, "__notes__", None)
    if isinstance(notes, list):
        document["notes"] = [text_document(str(note)[:TEXT]) for note in notes]
    if isinstance(error, BaseExceptionGroup):
        document["group"] = text_document(error.message)
        document["members"] = [
            _encoded(member, renamed, seen, depth - 1)
            for member in error.exceptions
            if depth
        ]
    else:
        document["args"] = [_value(value, renamed) for value in error.args]
    for key, other in (("cause", error.__cause__), ("context", error.__context__)):
        if other is not None and other is error.__cause__ and key == "context":
            document["context"] = "cause"
        elif (
            other is not None
            and depth
            and id(other) not in seen
            and not isinstance(other, RemoteTraceback)
        ):
            document[key] = _encoded(other, renamed, seen, depth - 1)
    document["suppress"] = error.__suppress_context__
    return document


def _value(value: object, renamed: Mapping[str, str]) -> Json:
    """Return the document of an argument or attribute; as text, if it has none."""
    try:
        kept = encode(value, Any, None, renamed=renamed)
        if len(document_bytes(kept)) <= _VALUE:
            return {"value": kept}
    except (ImageKitError, RecursionError):
        pass  # it has no document: the text says what it was
    return {"text": text_document(shown(value))}


#: Kept apart, or no part of the exception itself.
_APART = frozenset(vars(BaseException)) | {"__dict__", "__weakref__", "__notes__"}


def _attributes(error: BaseException) -> dict[str, object]:
    """Return what is set on *error*, also in slots, as those of OSError are."""
    found: dict[str, object] = {}
    for name in _slots(type(error)):
        try:
            value = getattr(error, name)
        except AttributeError:
            continue
        if value is not None:
            found[name] = value
    found |= vars(error)
    found.pop("__notes__", None)
    found.pop(_KEPT, None)
    return found


def _slots(of: type) -> list[str]:
    """Return the names of attributes that have slots in classes of exceptions."""
    return [
        name
        for base in of.__mro__
        if base not in (object, BaseException, BaseExceptionGroup)
        for name, item in vars(base).items()
        if type(item).__name__ in ("member_descriptor", "getset_descriptor")
        and name not in _APART
        # The object that lacks the attribute may be anything.
        and not (base is AttributeError and name == "obj")
    ]


def _decoded(
    document: Json, renamed: Mapping[str, str], modules: frozenset[str], depth: int
) -> BaseException:
    error = _made(document, renamed, modules, depth)
    notes = [text_of(note) for note in document.get("notes", [])]
    if notes:
        error.__notes__ = notes
    cause, context = document.get("cause"), document.get("context")
    if isinstance(cause, dict) and depth:
        error.__cause__ = _decoded(cause, renamed, modules, depth - 1)
    if context == "cause":
        error.__context__ = error.__cause__
    elif isinstance(context, dict) and depth:
        error.__context__ = _decoded(context, renamed, modules, depth - 1)
    error.__suppress_context__ = bool(document.get("suppress"))
    return error


def _made(
    document: Json, renamed: Mapping[str, str], modules: frozenset[str], depth: int
) -> BaseException:
    """Return the exception itself, of its own class if that can be had."""
    kind = _class(document, renamed, modules)
    if "group" in document:
        return _group(kind, document, renamed, modules, depth)
    if kind is not None and not issubclass(kind, BaseExceptionGroup):
        args = [_value_of(item, renamed) for item in document.get("args", [])]
        for make in (kind.__new__, BaseException.__new__):
            try:
                error: BaseException = make(kind, *args)
            except Exception:  # noqa: BLE001, S112  (a user's __new__ may raise anything; what is left says it all)
                continue
            if type(error) is kind:
                _fill(error, tuple(args), document, renamed)
                return error
    return _stand_in(document)


def _class(
    document: Json, renamed: Mapping[str, str], modules: frozenset[str]
) -> type[BaseException] | None:
    name = document.get("class")
    if not isinstance(name, str):
        return None
    module = name.partition(":")[0]
    module = renamed.get(module, module)
    ours = module.partition(".")[0] == "imagekit" and _is_ours(module)
    if module not in sys.modules and (module in modules or ours):
        importlib.import_module(module)
    kind = find_class(name, renamed)
    return kind if kind is not None and issubclass(kind, BaseException) else None


def _is_ours(module: str) -> bool:
    """Return whether *module* is one of imagekit's that define errors."""
    return module in _OURS


def _group(
    kind: type[BaseException] | None,
    document: Json,
    renamed: Mapping[str, str],
    modules: frozenset[str],
    depth: int,
) -> BaseException:
    members = [
        _decoded(member, renamed, modules, depth - 1)
        for member in document.get("members", [])
        if depth
    ]
    if not members:
        return _stand_in(document)
    message = text_of(document["group"])
    plain = all(isinstance(member, Exception) for member in members)
    for known in (kind, ExceptionGroup if plain else BaseExceptionGroup):
        if known is None or not issubclass(known, BaseExceptionGroup):
            continue
        try:
            error: BaseException = known.__new__(known, message, members)
        except Exception:  # noqa: BLE001, S112  (as above)
            continue
        _fill(error, None, document, renamed)
        return error
    return _stand_in(document)


def _fill(
    error: BaseException,
    args: tuple[Any, ...] | None,
    document: Json,
    renamed: Mapping[str, str],
) -> None:
    if args is not None:
        error.args = args
    slots = set(_slots(type(error)))
    for name_document, item in document.get("attributes", []):
        name = text_of(name_document)
        value = _value_of(item, renamed)
        if name in slots:
            try:
                BaseException.__setattr__(error, name, value)
            except (AttributeError, TypeError):
                continue  # a read-only one, which __new__ has set
        else:
            vars(error)[name] = value


def _value_of(document: Json, renamed: Mapping[str, str]) -> Any:
    if "text" in document:
        return text_of(document["text"])
    try:
        return decode(document["value"], Any, None, renamed=renamed)
    except ImageKitError:
        # Its class is not loaded here.
        return f"{document['value']!r:.{REPR}}"


def _stand_in(document: Json) -> CustomError:
    kind = str(document.get("class", "Exception")).replace(":", ".")
    kind = kind.removeprefix(f"{builtins.__name__}.")
    message = text_of(document.get("message", ""))
    return CustomError(f"{kind}: {message}" if message else kind, kind=kind)
