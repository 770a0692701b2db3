"""Models of pydantic, where it is installed; it is never imported here.

Fields are kept one by one, as those of dataclasses are. Fields of pydantic's own types
are kept as its JSON, if that gives back the same value. A decoded model is filled in
without validation: it was valid when it was encoded, and validators may do anything.
"""

from __future__ import annotations

import sys
from typing import Any

from imagekit.values.class_names import class_name, find_class, findable
from imagekit.values.classes import (
    Fields,
    extra_documents,
    extra_values,
    within_itself,
)
from imagekit.values.codec import Codec, Json, Maker, Packing
from imagekit.values.misfit import Misfit, UnsupportedError, found, type_name, wanted
from imagekit.values.scalars import text_document, text_of


def is_model(of: object) -> bool:
    """Return whether *of* is a model of pydantic."""
    pydantic = sys.modules.get("pydantic")
    return (
        pydantic is not None
        and isinstance(of, type)
        and issubclass(of, pydantic.BaseModel)
        and of is not pydantic.BaseModel
    )


class ModelCodec(Codec):
    """A model, with what is set, private and extra in it."""

    def __init__(self, kind: Any, make: Maker) -> None:
        self.label = type_name(kind)
        self._kind = kind
        self._make = make
        self._fields = Fields(self._types, lambda each: _field_codec(each, make))

    def _types(self) -> dict[str, Any]:
        if not self._kind.__pydantic_complete__:
            self._kind.model_rebuild()
        return {name: item.annotation for name, item in self._kind.model_fields.items()}

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the fields, and which were set."""
        if type(value) is not self._kind:
            if to.exact or not isinstance(value, self._kind):
                raise wanted(self.label, value)
            findable(type(value))
            name = class_name(type(value), to.renamed)
            return {"$class": name, "value": self._make(type(value)).encode(value, to)}
        names = self._fields.codecs()
        attributes = vars(value)
        document = self._fields.encode(attributes, to)
        unset = sorted(names.keys() - value.model_fields_set)
        if unset:
            document["$unset"] = unset
        for key, extra in (
            ("$extra", value.model_extra),
            ("$private", value.__pydantic_private__),
        ):
            if extra is not None:
                document[key] = extra_documents(extra, self._make, to)
        return document

    def decode(self, document: Json, at: Packing) -> Any:
        """Return the model."""
        if "$class" in document:
            kind = find_class(document["$class"], at.renamed)
            if kind is None or not issubclass(kind, self._kind):
                raise Misfit(
                    f"class {document['$class']} is not loaded here, or no {self.label}"
                )
            return self._make(kind).decode(document["value"], at)
        own = {name: item for name, item in document.items() if name[0] != "$"}
        values = self._fields.decode(own, at)
        extra = _attributes(document, "$extra", self._make, at)
        made = self._kind.__new__(self._kind)
        # What pydantic itself gives to pickle, and takes from it.
        made.__setstate__(
            {
                "__dict__": values,
                "__pydantic_fields_set__": (values.keys() | (extra or {}).keys())
                - set(document.get("$unset", ())),
                "__pydantic_extra__": extra,
                "__pydantic_private__": _attributes(
                    document, "$private", self._make, at
                ),
            }
        )
        return made

    def describe(self, within: tuple[object, ...]) -> Json:
        """Return the fields and their types."""
        again = within_itself(self._kind, self.label, within)
        if again is not None:
            return again
        fields = self._fields.describe((*within, self._kind))
        return {"model": self._kind.__qualname__, "fields": fields}


def _attributes(
    document: Json, key: str, make: Maker, at: Packing
) -> dict[str, Any] | None:
    return extra_values(document[key], make, at) if key in document else None


def _field_codec(annotation: Any, make: Maker) -> Codec:
    try:
        return make(annotation)
    except UnsupportedError:
        return PydanticCodec(annotation)


class PydanticCodec(Codec):
    """A type that only pydantic knows how to write down."""

    def __init__(self, annotation: Any) -> None:
        self.label = type_name(annotation)
        pydantic: Any = sys.modules["pydantic"]
        try:
            self._adapter = pydantic.TypeAdapter(annotation)
        except Exception as error:
            raise UnsupportedError(
                f"{self.label} can't be passed on: {error}"
            ) from error

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the JSON as text."""
        del to
        try:
            text = self._adapter.dump_json(value).decode()
            again = self._adapter.validate_json(text)
        except Exception as error:
            raise Misfit(
                f"pydantic can't write {found(value)} down: {error}"
            ) from error
        if type(again) is not type(value) or again != value:
            raise Misfit(
                f"{found(value)} is another value when pydantic reads it again",
                hint="a secret value is not passed on: give tasks a Secret",
            )
        return text_document(text)

    def decode(self, document: Json, at: Packing) -> Any:
        """Return the value."""
        del at
        return self._adapter.validate_json(text_of(document))

    def describe(self, within: tuple[object, ...]) -> Json:
        """Return the name of the type."""
        del within
        return {"pydantic": self.label}
