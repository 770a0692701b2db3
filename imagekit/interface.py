"""What a task takes and returns, read off its signature.

Inputs and outputs go through documents (:mod:`imagekit.values`) wherever the task runs,
so that it gets and gives the same in this process and in a container.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from imagekit.task_errors import RuntimeDataValidationError
from imagekit.value_blobs import ValueBlobs
from imagekit.values import Json, decode, describe, encode, inline_size
from imagekit.values.misfit import UnsupportedError
from imagekit.values.signature import MISSING, Parameter, Signature, read_signature

__all__ = ["MISSING", "BindingError", "Interface", "Parameter"]


class BindingError(RuntimeDataValidationError, TypeError, ValueError):
    """A task is called with inputs that it has no place for, or without some.

    It is a TypeError, as of any function, and the ValueError that users of the
    reference catch.
    """


class Interface:
    """The inputs and the output of a task.

    The signature is read when it is first asked for: annotations may name what is
    defined further down in the module. All methods but :meth:`size` raise
    RuntimeDataValidationError if no task can have such a signature.
    """

    def __init__(self, func: Callable[..., Any]) -> None:
        self._func = func
        self._signature: Signature | None = None

    @classmethod
    def of(cls, func: Callable[..., Any]) -> Interface:
        """Return the interface of *func*, sync or async."""
        return cls(func)

    @property
    def name(self) -> str:
        """Name of the function, for messages."""
        return getattr(self._func, "__qualname__", repr(self._func))

    @property
    def origin(self) -> str | None:
        """``file:line`` of the function, where it has one."""
        inner = self._func
        while hasattr(inner, "__wrapped__"):
            inner = inner.__wrapped__
        code = getattr(inner, "__code__", None)
        if code is None:
            return None
        return f"{os.path.abspath(code.co_filename)}:{code.co_firstlineno}"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The inputs, in order."""
        return self._read().parameters

    @property
    def output(self) -> Any:
        """The type of the result; ``Any`` where there is none."""
        return self._read().output

    def bind(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> dict[str, object]:
        """Return all inputs by name, with defaults filled in.

        Raises:
            BindingError: some are missing, unknown, or given twice.
        """
        binder = self._read().binder
        try:
            bound = binder.bind(*args, **kwargs)
        except TypeError as error:
            raise BindingError(
                f"{self.name}() {error}",
                hint=f"its inputs: {', '.join(binder.parameters) or 'none'}",
                origin=self.origin,
            ) from None
        bound.apply_defaults()
        return dict(bound.arguments)

    def encode_inputs(
        self,
        values: Mapping[str, Any],
        blobs: ValueBlobs | None,
        *,
        renamed: Mapping[str, str] | None = None,
    ) -> dict[str, Json]:
        """Return the documents of all inputs, by name.

        Args:
            values: all inputs, as :meth:`bind` returns them.
            blobs: see :func:`imagekit.values.encode`.
            renamed: see there.

        Raises:
            RuntimeDataValidationError: one is not of its type.
        """
        documents = {}
        for item in self.parameters:
            with self._located():
                documents[item.name] = encode(
                    values[item.name],
                    item.annotation,
                    blobs,
                    subject=self._input(item),
                    renamed=renamed,
                )
        return documents

    def decode_inputs(
        self,
        document: Json,
        blobs: ValueBlobs | None,
        *,
        renamed: Mapping[str, str] | None = None,
        files: str | None = None,
    ) -> dict[str, object]:
        """Return the inputs of *document*, by name.

        Args:
            document: as :meth:`encode_inputs` made it.
            blobs: see :func:`imagekit.values.decode`.
            renamed: see there.
            files: see there.

        Raises:
            RuntimeDataValidationError: they are not those of this interface.
        """
        names = [item.name for item in self.parameters]
        if not isinstance(document, dict) or sorted(document) != sorted(names):
            given = sorted(document) if isinstance(document, dict) else document
            raise RuntimeDataValidationError(
                f"wanted the inputs {names} of {self.name}, found {given!r:.200}",
                origin=self.origin,
            )
        values = {}
        for item in self.parameters:
            with self._located():
                values[item.name] = decode(
                    document[item.name],
                    item.annotation,
                    blobs,
                    subject=self._input(item),
                    renamed=renamed,
                    files=files,
                )
        return values

    def encode_output(
        self,
        value: object,
        blobs: ValueBlobs | None,
        *,
        renamed: Mapping[str, str] | None = None,
    ) -> Json:
        """Return the document of the result; see :func:`imagekit.values.encode`.

        Raises:
            RuntimeDataValidationError: it is not of its type.
        """
        annotation = self.output
        with self._located():
            return encode(
                value, annotation, blobs, subject=self._result, renamed=renamed
            )

    def decode_output(
        self,
        document: Json,
        blobs: ValueBlobs | None,
        *,
        renamed: Mapping[str, str] | None = None,
        files: str | None = None,
    ) -> Any:
        """Return the result of *document*; see :func:`imagekit.values.decode`.

        Raises:
            RuntimeDataValidationError: it is not of its type.
        """
        annotation = self.output
        with self._located():
            return decode(
                document,
                annotation,
                blobs,
                subject=self._result,
                renamed=renamed,
                files=files,
            )

    def describe(self) -> Json:
        """Return what tells this interface from others, equal in every process.

        Raises:
            RuntimeDataValidationError: values of some type can't be passed on.
        """
        with self._located():
            return {
                "inputs": [
                    [item.name, describe(item.annotation, subject=self._input(item))]
                    for item in self.parameters
                ],
                "output": describe(self.output, subject=self._result),
            }

    def size(self, document: Json) -> int:
        """Return how many bytes of *document* are inline, rather than files."""
        return inline_size(document)

    def _input(self, parameter: Parameter) -> str:
        return f"input {parameter.name!r} of {self.name}"

    @property
    def _result(self) -> str:
        return f"output of {self.name}"

    @contextmanager
    def _located(self) -> Iterator[None]:
        """Have errors say where the function is."""
        try:
            yield
        except RuntimeDataValidationError as error:
            error.at(self.origin)
            raise

    def _read(self) -> Signature:
        if self._signature is None:
            try:
                self._signature = read_signature(self._func)
            except UnsupportedError as misfit:
                raise RuntimeDataValidationError(
                    misfit.message, hint=misfit.hint, origin=self.origin
                ) from misfit.__cause__
        return self._signature
