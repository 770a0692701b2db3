"""Lists, tuples, sets and dicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from imagekit.values.codec import Codec, Json, Packing, document_bytes
from imagekit.values.misfit import Misfit, shown, wanted


def encode_items(codec: Codec, values: Iterable[Any], to: Packing) -> list[Json]:
    """Return the documents of *values*."""
    documents: list[Json] = []
    try:
        for value in values:
            documents.append(codec.encode(value, to))  # noqa: PERF401  (its length says where)
    except Misfit as misfit:
        raise misfit.inside(f"[{len(documents)}]") from misfit.__cause__
    return documents


def decode_items(codec: Codec, documents: Json, at: Packing) -> list[Any]:
    """Return the values of *documents*."""
    if type(documents) is not list:
        raise TypeError(f"no list: {documents!r}")
    values: list[Any] = []
    try:
        for document in documents:
            values.append(codec.decode(document, at))  # noqa: PERF401
    except Misfit as misfit:
        raise misfit.inside(f"[{len(values)}]") from misfit.__cause__
    return values


class ListCodec(Codec):
    """``list[T]`` or ``tuple[T, ...]``."""

    def __init__(self, kind: type[list[Any] | tuple[Any, ...]], item: Codec) -> None:
        more = ", ..." if kind is tuple else ""
        self.label = f"{kind.__name__}[{item.label}{more}]"
        self._kind = kind
        self._item = item

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the items."""
        kind = self._kind
        if type(value) is not kind and (to.exact or not isinstance(value, kind)):
            raise wanted(self.label, value)
        return encode_items(self._item, value, to)

    def decode(self, document: Json, at: Packing) -> Any:
        """Return the items."""
        return self._kind(decode_items(self._item, document, at))

    def describe(self, within: tuple[object, ...]) -> Json:
        """Return the items' type."""
        return {self._kind.__name__: self._item.describe(within)}


class FixedTupleCodec(Codec):
    """``tuple[A, B]``."""

    def __init__(self, items: tuple[Codec, ...]) -> None:
        self.label = f"tuple[{', '.join(item.label for item in items) or '()'}]"
        self._items = items

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the items."""
        if type(value) is not tuple and (to.exact or not isinstance(value, tuple)):
            raise wanted(self.label, value)
        if len(value) != len(self._items):
            raise Misfit(
                f"wanted {self.label}, found {len(value)} items: {shown(value)}"
            )
        documents: list[Json] = []
        try:
            for item, codec in zip(value, self._items, strict=True):
                documents.append(codec.encode(item, to))
        except Misfit as misfit:
            raise misfit.inside(f"[{len(documents)}]") from misfit.__cause__
        return documents

    def decode(self, document: Json, at: Packing) -> tuple[Any, ...]:
        """Return the items."""
        return tuple(
            codec.decode(item, at)
            for codec, item in zip(self._items, document, strict=True)
        )

    def describe(self, within: tuple[object, ...]) -> Json:
        """Return the items' types."""
        return {"items": [item.describe(within) for item in self._items]}


class SetCodec(Codec):
    """``set[T]`` or ``frozenset[T]``."""

    def __init__(self, kind: type[set[Any] | frozenset[Any]], item: Codec) -> None:
        self.label = f"{kind.__name__}[{item.label}]"
        self._kind = kind
        self._item = item

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the items, sorted by their documents."""
        kind = self._kind
        if type(value) is not kind and (to.exact or not isinstance(value, kind)):
            raise wanted(self.label, value)
        try:
            documents = [self._item.encode(item, to) for item in value]
        except Misfit as misfit:
            raise misfit.inside("{…}") from misfit.__cause__
        return sorted(documents, key=document_bytes)

    def decode(self, document: Json, at: Packing) -> Any:
        """Return the items."""
        return self._kind(decode_items(self._item, document, at))

    def describe(self, within: tuple[object, ...]) -> Json:
        """Return the items' type."""
        return {self._kind.__name__: self._item.describe(within)}


class DictCodec(Codec):
    """``dict[K, V]``; keys keep their order."""

    label: str

    def __init__(self, key: Codec, item: Codec) -> None:
        self.label = f"dict[{key.label}, {item.label}]"
        self._key = key
        self._item = item

    def encode(self, value: Any, to: Packing) -> Json:
        """Return pairs of keys and values."""
        if type(value) is not dict and (to.exact or not isinstance(value, dict)):
            raise wanted(self.label, value)
        return encode_pairs(value, to, self._key, self._item)

    def decode(self, document: Json, at: Packing) -> dict[Any, Any]:
        """Return the dict."""
        pairs: dict[Any, Any] = {}
        for key_document, item_document in document:
            key = self._key.decode(key_document, at)
            try:
                pairs[key] = self._item.decode(item_document, at)
            except Misfit as misfit:
                raise misfit.inside(f"[{shown(key)}]") from misfit.__cause__
        return pairs

    def describe(self, within: tuple[object, ...]) -> Json:
        """Return the types of keys and values."""
        return {"dict": [self._key.describe(within), self._item.describe(within)]}


def encode_pairs(
    value: Mapping[Any, Any], to: Packing, keys: Codec, items: Codec
) -> Json:
    """Return pairs of the keys and values of *value*."""
    pairs = []
    for key, item in value.items():
        try:
            key_document = keys.encode(key, to)
        except Misfit as misfit:
            raise misfit.inside(f".keys(): {shown(key)}") from misfit.__cause__
        try:
            pairs.append([key_document, items.encode(item, to)])
        except Misfit as misfit:
            raise misfit.inside(f"[{shown(key)}]") from misfit.__cause__
    return pairs


class ChoiceCodec(Codec):
    """``Sequence[T]`` and other annotations for more than one concrete type."""

    def __init__(self, label: str, kinds: Mapping[type, Codec], hint: str) -> None:
        self.label = label
        self._kinds = kinds
        self._hint = hint

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the document of the concrete type, with its name."""
        codec = self._kinds.get(type(value))
        if codec is None:
            raise wanted(self.label, value, hint=self._hint)
        return {f"${type(value).__name__}": codec.encode(value, to)}

    def decode(self, document: Json, at: Packing) -> Any:
        """Return the value, of its concrete type."""
        ((tag, inner),) = document.items()
        for kind, codec in self._kinds.items():
            if tag == f"${kind.__name__}":
                return codec.decode(inner, at)
        raise TypeError(f"no {self.label}: {document!r}")

    def describe(self, within: tuple[object, ...]) -> Json:
        """Return the concrete types."""
        return {"one of": [codec.describe(within) for codec in self._kinds.values()]}
