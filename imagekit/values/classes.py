"""Dataclasses, named tuples and typed dicts: values with named fields.

A decoded instance is filled in without ``__init__`` and ``__post_init__``, as ``copy``
and ``pickle`` do: it is what was encoded, and a document runs no code.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from imagekit.values.class_names import class_name, find_class, findable
from imagekit.values.codec import Codec, Json, Maker, Packing
from imagekit.values.misfit import (
    Misfit,
    UnsupportedError,
    found,
    shown,
    type_name,
    wanted,
)
from imagekit.values.scalars import text_document, text_of


class Fields:
    """Codecs of named fields, made when first needed: types may hold themselves."""

    def __init__(self, types: Callable[[], Mapping[str, Any]], make: Maker) -> None:
        self._types = types
        self._make = make
        self._codecs: dict[str, Codec] | None = None

    def codecs(self) -> Mapping[str, Codec]:
        """Return the codecs, by name."""
        if self._codecs is None:
            codecs = {}
            for name, annotation in self._types().items():
                try:
                    codecs[name] = self._make(annotation)
                except Misfit as misfit:
                    raise misfit.inside(f".{name}") from misfit.__cause__
            self._codecs = codecs
        return self._codecs

    def encode(self, values: Mapping[str, Any], to: Packing) -> dict[str, Json]:
        """Return the documents of those *values* that are fields."""
        documents = {}
        for name, codec in self.codecs().items():
            if name not in values:
                continue
            try:
                documents[name] = codec.encode(values[name], to)
            except Misfit as misfit:
                raise misfit.inside(f".{name}") from misfit.__cause__
        return documents

    def decode(self, documents: Mapping[str, Json], at: Packing) -> dict[str, Any]:
        """Return the values of *documents*."""
        codecs = self.codecs()
        values = {}
        for name, document in documents.items():
            try:
                values[name] = codecs[name].decode(document, at)
            except Misfit as misfit:
                raise misfit.inside(f".{name}") from misfit.__cause__
        return values

    def describe(self, within: tuple[object, ...]) -> Json:
        """Return names and types, in order."""
        return [[name, codec.describe(within)] for name, codec in self.codecs().items()]


def within_itself(of: object, name: str, within: tuple[object, ...]) -> Json | None:
    """Return how *of* is described inside its own description, else None."""
    return {"again": name} if of in within else None


def extra_documents(values: Mapping[str, Any], make: Maker, to: Packing) -> Json:
    """Return the documents of attributes that no annotation tells the types of."""
    documents = []
    for name, value in sorted(values.items()):
        try:
            documents.append([text_document(name), make(Any).encode(value, to)])
        except Misfit as misfit:
            raise misfit.inside(f".{name}") from misfit.__cause__
    return documents


def extra_values(documents: Json, make: Maker, at: Packing) -> dict[str, Any]:
    """Return the attributes of *documents*."""
    codec = make(Any)
    return {text_of(name): codec.decode(item, at) for name, item in documents}


class DataclassCodec(Codec):
    """A dataclass, of the standard library or of :mod:`imagekit.records`.

    Instances of its subclasses are kept with their class.
    """

    def __init__(self, kind: Any, arguments: tuple[Any, ...], make: Maker) -> None:
        names = [type_name(item) for item in arguments]
        self.label = f"{kind.__qualname__}[{', '.join(names)}]" if names else ""
        self.label = self.label or type_name(kind)
        _check_plain(kind, self.label)
        self._kind = kind
        self._make = make
        self._key = (kind, arguments)
        self._fields = Fields(lambda: _dataclass_types(kind, arguments), make)

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the fields."""
        if type(value) is not self._kind:
            if to.exact or not isinstance(value, self._kind):
                raise wanted(self.label, value)
            findable(type(value))
            name = class_name(type(value), to.renamed)
            return {"$class": name, "value": self._make(type(value)).encode(value, to)}
        names = self._fields.codecs()
        # A field that __init__ doesn't know may have no value yet.
        values = {name: getattr(value, name) for name in names if hasattr(value, name)}
        document = self._fields.encode(values, to)
        unset = [name for name in names if name not in values]
        if unset:
            document["$unset"] = unset
        extra = _extra(value, names)
        if extra:
            document["$more"] = extra_documents(extra, self._make, to)
        return document

    def decode(self, document: Json, at: Packing) -> Any:
        """Return the instance."""
        if "$class" in document:
            kind = _subclass(document["$class"], self._kind, at)
            return self._make(kind).decode(document["value"], at)
        own = {name: item for name, item in document.items() if name[0] != "$"}
        wanting = self._fields.codecs().keys() - own.keys()
        if wanting != set(document.get("$unset", ())):
            raise Misfit(f"no value for the fields {sorted(wanting)} of {self.label}")
        values = self._fields.decode(own, at)
        values |= extra_values(document.get("$more", []), self._make, at)
        try:
            made = object.__new__(self._kind)
        except TypeError as error:
            raise Misfit(f"{self.label} can't be made: {error}") from error
        for name, value in values.items():
            object.__setattr__(made, name, value)
        return made

    def describe(self, within: tuple[object, ...]) -> Json:
        """Return the fields and their types."""
        again = within_itself(self._key, self.label, within)
        if again is not None:
            return again
        fields = self._fields.describe((*within, self._key))
        return {"class": self._kind.__qualname__, "fields": fields}


def _subclass(name: str, base: type, at: Packing) -> type:
    kind = find_class(name, at.renamed)
    if kind is None or not issubclass(kind, base) or not is_dataclass(kind):
        raise Misfit(f"class {name} is not loaded here, or no {base.__qualname__}")
    return kind


def is_dataclass(of: object) -> bool:
    """Return whether *of* is a dataclass."""
    # In this order: the second makes records tell the standard library of themselves.
    return hasattr(of, "__record__") or hasattr(of, "__dataclass_fields__")


def _check_plain(kind: type, label: str) -> None:
    """Refuse classes that are more than their attributes, as subclasses of list are."""
    for base in kind.__mro__[:-1]:
        if base.__module__ == "builtins":
            raise UnsupportedError(
                f"{label} is a {base.__name__}, which fields don't tell all of"
            )


def _dataclass_types(kind: Any, arguments: tuple[Any, ...]) -> dict[str, Any]:
    import dataclasses  # noqa: PLC0415  (slow to import)

    from imagekit.values.fields import field_types  # noqa: PLC0415  (with typing)

    types = field_types(kind, arguments)
    return {item.name: types[item.name] for item in dataclasses.fields(kind)}


def _extra(value: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return the attributes of *value* that are no fields and no cached properties."""
    attributes = getattr(value, "__dict__", None)
    if not attributes:
        return {}
    extra = {name: item for name, item in attributes.items() if name not in names}
    functools = sys.modules.get("functools")
    if extra and functools is not None:
        for base in type(value).__mro__:
            for name, item in vars(base).items():
                if isinstance(item, functools.cached_property):
                    extra.pop(name, None)
    return extra


class NamedTupleCodec(Codec):
    """A named tuple."""

    def __init__(self, kind: Any, make: Maker) -> None:
        self.label = type_name(kind)
        self._kind = kind
        self._fields = Fields(lambda: _tuple_types(kind), make)

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the fields."""
        if type(value) is not self._kind:
            raise wanted(self.label, value)
        return self._fields.encode(dict(zip(value._fields, value, strict=True)), to)

    def decode(self, document: Json, at: Packing) -> Any:
        """Return the tuple."""
        values = self._fields.decode(document, at)
        return self._kind._make(values[name] for name in self._kind._fields)

    def describe(self, within: tuple[object, ...]) -> Json:
        """Return the fields and their types."""
        again = within_itself(self._kind, self.label, within)
        if again is not None:
            return again
        fields = self._fields.describe((*within, self._kind))
        return {"tuple": self._kind.__qualname__, "fields": fields}


def _tuple_types(kind: Any) -> dict[str, Any]:
    from imagekit.values.fields import resolved_hints  # noqa: PLC0415  (with typing)

    types = resolved_hints(kind)
    return {name: types.get(name, Any) for name in kind._fields}


class TypedDictCodec(Codec):
    """A typed dict: a dict with certain keys."""

    def __init__(self, kind: Any, make: Maker) -> None:
        self.label = type_name(kind)
        self._kind = kind
        self._fields = Fields(lambda: _key_types(kind), make)

    def encode(self, value: Any, to: Packing) -> Json:
        """Return pairs of keys and values, in order."""
        if type(value) is not dict:
            raise Misfit(f"wanted a dict ({self.label}), found {found(value)}")
        codecs = self._fields.codecs()
        for key in value:
            if key not in codecs:
                raise Misfit(f"{self.label} has no key {shown(key)}")
        for key in _required(self._kind):
            if key not in value:
                raise Misfit(f"{self.label} needs the key {key!r}")
        pairs = []
        for key, item in value.items():
            try:
                pairs.append([text_document(key), codecs[key].encode(item, to)])
            except Misfit as misfit:
                raise misfit.inside(f"[{key!r}]") from misfit.__cause__
        return pairs

    def decode(self, document: Json, at: Packing) -> dict[str, Any]:
        """Return the dict."""
        codecs = self._fields.codecs()
        values = {}
        for name, item in document:
            key = text_of(name)
            try:
                values[key] = codecs[key].decode(item, at)
            except Misfit as misfit:
                raise misfit.inside(f"[{key!r}]") from misfit.__cause__
        return values

    def describe(self, within: tuple[object, ...]) -> Json:
        """Return the keys, their types, and which are required."""
        again = within_itself(self._kind, self.label, within)
        if again is not None:
            return again
        return {
            "keys": self._fields.describe((*within, self._kind)),
            "required": _required(self._kind),
        }


def _required(kind: Any) -> list[str]:
    """Return the keys that can't be left out, sorted.

    ``__required_keys__`` is wrong where annotations are texts: qualifiers in them are
    not seen.
    """
    import typing  # noqa: PLC0415  (only for types that need it)

    required = []
    for key, annotation in _key_types(kind).items():
        needed = key in kind.__required_keys__
        while (origin := typing.get_origin(annotation)) is not None:
            name = getattr(origin, "_name", None)
            if name in ("Required", "NotRequired"):
                needed = name == "Required"
            elif name != "ReadOnly" and origin is not typing.Annotated:
                break
            annotation = typing.get_args(annotation)[0]  # noqa: PLW2901  (the same, without its qualifiers)
        if needed:
            required.append(key)
    return sorted(required)


def _key_types(kind: Any) -> dict[str, Any]:
    from imagekit.values.fields import resolved_hints  # noqa: PLC0415  (with typing)

    return resolved_hints(kind)
