"""Arrays and scalars of NumPy, in its npy format, without pickle."""

from __future__ import annotations

import base64
import io
import sys
import typing
from typing import Any

from imagekit.values.binary import binary_of, reference
from imagekit.values.codec import Codec, Json, Packing
from imagekit.values.misfit import Misfit, UnsupportedError, type_name, wanted

_INLINE = 4096


def numpy_codec(annotation: Any) -> Codec | None:
    """Return the codec of an annotation of NumPy's; None for any other."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    origin = typing.get_origin(annotation) or annotation
    if not isinstance(origin, type):
        return None
    if issubclass(origin, numpy.ndarray):
        if origin is not numpy.ndarray:
            raise UnsupportedError(f"{type_name(origin)} is no plain array")
        return ArrayCodec(_dtype(typing.get_args(annotation)))
    return ScalarCodec(origin) if issubclass(origin, numpy.generic) else None


def _dtype(arguments: tuple[Any, ...]) -> Any:
    """Return the scalar type that ``ndarray[shape, dtype[T]]`` names; None for any."""
    inner = typing.get_args(arguments[1]) if len(arguments) > 1 else ()
    wanted_type = inner[0] if inner else None
    return wanted_type if isinstance(wanted_type, type) else None


def numpy_module() -> Any:
    """Return NumPy.

    Raises:
        Misfit: it is not installed here.
    """
    return needed("numpy")


def needed(name: str) -> Any:
    """Return a module that values need.

    Raises:
        Misfit: it is not installed here.
    """
    import importlib  # noqa: PLC0415  (only for values that need it)

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Misfit(f"the value needs {name}, which is not installed here") from error


class ArrayCodec(Codec):
    """``numpy.ndarray``; the order of its elements in memory is not kept."""

    def __init__(self, scalar: Any) -> None:
        self.label = f"ndarray[{scalar.__name__}]" if scalar else "ndarray"
        self._scalar = scalar

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the array."""
        numpy = numpy_module()
        if type(value) is not numpy.ndarray:
            raise wanted(self.label, value)
        if self._scalar and not numpy.issubdtype(value.dtype, self._scalar):
            raise Misfit(f"wanted {self.label}, found an array of {value.dtype}")
        return {"$array": array_document(value, to)}

    def decode(self, document: Json, at: Packing) -> Any:
        """Return the array."""
        return array_of(document["$array"], at)

    def describe(self, within: tuple[object, ...]) -> Json:
        """Return the name of the type."""
        del within
        return self.label


def array_document(value: Any, to: Packing) -> Json:
    """Return the document of an array: an npy file, inline or as a blob."""
    numpy = numpy_module()
    dtype = value.dtype
    if dtype.hasobject or numpy.lib.format.descr_to_dtype(_descr(dtype)) != dtype:
        raise Misfit(
            f"an array of {dtype} can't be passed on",
            hint="convert it to a type of numbers or texts, or pass a list",
        )

    def write(sink: Any) -> None:
        # Equal arrays have equal bytes, in whichever order memory has them.
        numpy.lib.format.write_array(
            sink, numpy.asarray(value, order="C"), allow_pickle=False
        )

    if to.blobs is None or value.nbytes <= _INLINE:
        buffer = io.BytesIO()
        write(buffer)
        return base64.b64encode(buffer.getvalue()).decode("ascii")
    digest = to.blobs.put(write)
    return reference(digest, to.blobs.path(digest).stat().st_size)


def _descr(dtype: Any) -> Any:
    try:
        return numpy_module().lib.format.dtype_to_descr(dtype)
    except (TypeError, ValueError, UserWarning) as error:
        raise Misfit(f"an array of {dtype} can't be passed on: {error}") from error


def array_of(document: Json, at: Packing) -> Any:
    """Return the array of *document*; it may be written to."""
    numpy = numpy_module()
    return numpy.lib.format.read_array(
        io.BytesIO(binary_of(document, at)), allow_pickle=False
    )


class ScalarCodec(Codec):
    """One number, text or time of NumPy."""

    def __init__(self, kind: Any) -> None:
        self.label = f"numpy.{kind.__name__}"
        self._kind = kind

    def encode(self, value: Any, to: Packing) -> Json:
        """Return the scalar, as an array without dimensions."""
        numpy = numpy_module()
        if not isinstance(value, self._kind) or type(value).__module__ != "numpy":
            raise wanted(self.label, value)
        if isinstance(value, str | bytes) and value[-1:] in ("\0", b"\0"):
            raise Misfit(f"{self.label} can't be passed on with a zero at its end")
        return {"$scalar": array_document(numpy.asarray(value), to)}

    def decode(self, document: Json, at: Packing) -> Any:
        """Return the scalar."""
        return array_of(document["$scalar"], at)[()]

    def describe(self, within: tuple[object, ...]) -> Json:
        """Return the name of the type."""
        del within
        return self.label
