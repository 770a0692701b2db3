"""Frames and series of pandas, column by column.

There is one form, whatever else is installed, so that equal frames have equal documents
on every machine. What it can't keep exactly is refused.
"""

from __future__ import annotations

import sys
from typing import Any

from imagekit.values.arrays import needed
from imagekit.values.codec import Codec, Json, Maker, Packing
from imagekit.values.columns import (
    column_document,
    column_of,
    index_document,
    index_of,
    name_document,
    name_of,
)
from imagekit.values.misfit import Misfit, wanted


def pandas_codec(annotation: Any, make: Maker) -> Codec | None:
    """Return the codec of an annotation of pandas'; None for any other."""
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return None
    if annotation is getattr(pandas, "DataFrame", None):
        return FrameCodec(make)
    if annotation is getattr(pandas, "Series", None):
        return SeriesCodec(make)
    return None


class _Pandas(Codec):
    def __init__(self, make: Maker) -> None:
        self._any = make(Any)

    def describe(self, within: tuple[object, ...]) -> Json:
        """Return the name of the type."""
        del within
        return self.label

    def _attributes(self, value: Any, to: Packing) -> Json:
        """Return what else a frame or series has."""
        try:
            return {
                "attributes": self._any.encode(value.attrs, to),
                "duplicates": value.flags.allows_duplicate_labels,
            }
        except Misfit as misfit:
            raise misfit.inside(".attrs") from misfit.__cause__

    def _finished(self, value: Any, document: Json, at: Packing) -> Any:
        value.attrs.update(self._any.decode(document["attributes"], at))
        value.flags.allows_duplicate_labels = document["duplicates"]
        return value


class FrameCodec(_Pandas):
    """``pandas.DataFrame``."""

    label = "DataFrame"

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the columns and both indexes."""
        if type(value) is not needed("pandas").DataFrame:
            raise wanted("DataFrame", value)
        columns = []
        for number, name in enumerate(value.columns):
            try:
                columns.append(
                    column_document(value.iloc[:, number].array, self._any, to)
                )
            except Misfit as misfit:
                raise misfit.inside(f"[{name!r}]") from misfit.__cause__
        return {
            "$frame": {
                "columns": columns,
                "names": index_document(value.columns, self._any, to),
                "index": index_document(value.index, self._any, to),
                **self._attributes(value, to),
            }
        }

    def decode(self, document: Json, at: Packing) -> Any:
        """Return the frame."""
        pandas = needed("pandas")
        inner = document["$frame"]
        index = index_of(inner["index"], self._any, at)
        columns = {}
        for number, column in enumerate(inner["columns"]):
            array = column_of(column, self._any, at)
            columns[number] = pandas.Series(array, index=index, dtype=array.dtype)
        frame = pandas.DataFrame(columns, index=index)
        frame.columns = index_of(inner["names"], self._any, at)
        return self._finished(frame, inner, at)


class SeriesCodec(_Pandas):
    """``pandas.Series``."""

    label = "Series"

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the values and their index."""
        if type(value) is not needed("pandas").Series:
            raise wanted("Series", value)
        return {
            "$frame": {
                "values": column_document(value.array, self._any, to),
                "index": index_document(value.index, self._any, to),
                "name": name_document(value.name, self._any, to),
                **self._attributes(value, to),
            }
        }

    def decode(self, document: Json, at: Packing) -> Any:
        """Return the series."""
        inner = document["$frame"]
        array = column_of(inner["values"], self._any, at)
        series = needed("pandas").Series(
            array,
            index=index_of(inner["index"], self._any, at),
            dtype=array.dtype,
            name=name_of(inner["name"], self._any, at),
        )
        return self._finished(series, inner, at)
