"""Columns and indexes of pandas."""

from __future__ import annotations

import json
from typing import Any

from imagekit.values.arrays import array_document, array_of, needed
from imagekit.values.binary import binary, binary_of
from imagekit.values.codec import Codec, Json, Packing, document_bytes
from imagekit.values.misfit import Misfit
from imagekit.values.times import zone_document, zone_of

_INLINE = Packing(blobs=None)


def column_document(array: Any, cells: Codec, to: Packing) -> Json:
    """Return the document of an array of pandas.

    Raises:
        Misfit: its type is none whose values can be kept exactly.
    """
    pandas, numpy = needed("pandas"), needed("numpy")
    if type(array) is pandas.arrays.NumpyExtensionArray:
        array = array.to_numpy()
    dtype = array.dtype
    if isinstance(dtype, numpy.dtype):
        if dtype.hasobject:
            return {"objects": _cells(array, cells, to)}
        return {"array": array_document(numpy.asarray(array, dtype=dtype), to)}
    if isinstance(dtype, pandas.DatetimeTZDtype):
        moments = array.tz_convert("UTC").tz_localize(None)
        return {
            "moments": array_document(moments.to_numpy(), to),
            "zone": zone_document(dtype.tz),
        }
    if isinstance(dtype, pandas.CategoricalDtype):
        return {
            "codes": array_document(array.codes, to),
            "categories": index_document(dtype.categories, cells, to),
            "ordered": bool(dtype.ordered),
        }
    if isinstance(dtype, pandas.StringDtype):
        texts = [None if cell is dtype.na_value else cell for cell in array]
        return {
            "texts": _cells(texts, cells, to),
            "storage": dtype.storage,
            "missing": "NA" if dtype.na_value is pandas.NA else "NaN",
        }
    if issubclass(dtype.construct_array_type(), _masked(pandas)):
        values = array.to_numpy(dtype=dtype.numpy_dtype, na_value=dtype.type(0))
        return {
            "values": array_document(values, to),
            "missing": array_document(array.isna(), to),
            "type": dtype.name,
        }
    raise Misfit(
        f"a column of {dtype} can't be passed on",
        hint="convert it with astype, or write the frame to a File",
    )


def column_of(document: Json, cells: Codec, at: Packing) -> Any:
    """Return the array of *document*, of NumPy or of pandas."""
    pandas = needed("pandas")
    if "array" in document:
        return array_of(document["array"], at)
    if "objects" in document:
        return _object_array(_cells_of(document["objects"], cells, at))
    if "moments" in document:
        moments = pandas.DatetimeIndex(array_of(document["moments"], at), tz="UTC")
        return moments.tz_convert(zone_of(document["zone"])).array
    if "codes" in document:
        kind = pandas.CategoricalDtype(
            index_of(document["categories"], cells, at), document["ordered"]
        )
        codes = array_of(document["codes"], at)
        return pandas.Categorical.from_codes(codes, dtype=kind)
    if "texts" in document:
        missing = pandas.NA if document["missing"] == "NA" else float("nan")
        texts = _cells_of(document["texts"], cells, at)
        kind = _string_type(document["storage"], missing)
        return pandas.array(texts, dtype=kind)
    kind = pandas.api.types.pandas_dtype(document["type"])
    if not issubclass(kind.construct_array_type(), _masked(pandas)):
        raise TypeError(f"no column: {document['type']!r}")
    return kind.construct_array_type()(
        array_of(document["values"], at), array_of(document["missing"], at)
    )


def _masked(pandas: Any) -> Any:
    arrays = pandas.arrays
    return (arrays.IntegerArray, arrays.FloatingArray, arrays.BooleanArray)


def _string_type(storage: str, missing: object) -> Any:
    """Return the type of a column of texts; it is kept in Arrow where that is there."""
    pandas = needed("pandas")
    try:
        return pandas.StringDtype(storage, na_value=missing)
    except ImportError:
        return pandas.StringDtype("python", na_value=missing)


def _object_array(values: list[Any]) -> Any:
    array = needed("numpy").empty(len(values), dtype=object)
    # One by one: NumPy would take lists for rows.
    for number, value in enumerate(values):
        array[number] = value
    return array


def _cells(array: Any, cells: Codec, to: Packing) -> Json:
    """Return the cells as one file of JSON."""
    pandas = needed("pandas")
    documents: list[Json] = []
    try:
        for cell in array:
            if cell is pandas.NA:
                documents.append({"$missing": "NA"})
            elif cell is pandas.NaT:
                documents.append({"$missing": "NaT"})
            else:
                documents.append(cells.encode(cell, _INLINE))
    except Misfit as misfit:
        raise misfit.inside(f"[{len(documents)}]") from misfit.__cause__
    return binary(document_bytes(documents), to)


def _cells_of(document: Json, cells: Codec, at: Packing) -> list[Any]:
    pandas = needed("pandas")
    missing = {"NA": pandas.NA, "NaT": pandas.NaT}
    return [
        missing[cell["$missing"]]
        if isinstance(cell, dict) and "$missing" in cell
        else cells.decode(cell, at)
        for cell in json.loads(binary_of(document, at))
    ]


def name_document(name: object, cells: Codec, to: Packing) -> Json:
    """Return the document of the name of a series or an index."""
    try:
        return cells.encode(name, to)
    except Misfit as misfit:
        raise misfit.inside(".name") from misfit.__cause__


def name_of(document: Json, cells: Codec, at: Packing) -> Any:
    """Return the name of *document*."""
    return cells.decode(document, at)


def index_document(index: Any, cells: Codec, to: Packing) -> Json:
    """Return the document of an index."""
    pandas = needed("pandas")
    if isinstance(index, pandas.MultiIndex):
        return {
            "levels": [
                index_document(index.get_level_values(number), cells, to)
                for number in range(index.nlevels)
            ]
        }
    name = name_document(index.name, cells, to)
    if isinstance(index, pandas.RangeIndex):
        return {"range": [index.start, index.stop, index.step], "name": name}
    try:
        document = {"column": column_document(index.array, cells, to), "name": name}
    except Misfit as misfit:
        raise misfit.inside(".index") from misfit.__cause__
    freq = getattr(index, "freqstr", None)
    return document if freq is None else {**document, "freq": freq}


def index_of(document: Json, cells: Codec, at: Packing) -> Any:
    """Return the index of *document*."""
    pandas = needed("pandas")
    if "levels" in document:
        levels = [index_of(level, cells, at) for level in document["levels"]]
        names = [level.name for level in levels]
        return pandas.MultiIndex.from_arrays(levels, names=names)
    name = name_of(document["name"], cells, at)
    if "range" in document:
        return pandas.RangeIndex(*document["range"], name=name)
    array = column_of(document["column"], cells, at)
    index = pandas.Index(array, dtype=array.dtype, name=name)
    if "freq" in document:
        index.freq = document["freq"]
    return index
