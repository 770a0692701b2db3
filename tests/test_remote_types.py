"""Types as a cluster describes them are enough to read and write their documents."""

from __future__ import annotations

import collections.abc
import datetime as dt
import decimal
import enum
import typing
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypedDict, TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagekit.cli.option_values import read
from imagekit.io import Dir, File
from imagekit.value_blobs import ValueBlobs
from imagekit.values import decode, describe, encode
from imagekit.values.described import annotation_of
from imagekit.values.misfit import UnsupportedError

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    GREEN = 2


class Twins(enum.Enum):
    ONE = "same"
    OTHER = "same"  # noqa: PIE796  (an alias)


class Opaque(enum.Enum):
    FIRST = object()
    SECOND = object()  # noqa: PIE796  (another one)


class Point(NamedTuple):
    x: int
    y: float


class Movie(TypedDict):
    title: str
    year: typing.NotRequired[int]


@dataclass(frozen=True)
class Address:
    street: str
    number: int | None = None


@dataclass
class Person:
    name: str
    addresses: list[Address] = field(default_factory=list)
    friend: Person | None = None
    scores: dict[tuple[int, str], float] = field(default_factory=dict)


@dataclass
class Box(Generic[T]):
    content: T


TYPES: list[Any] = [
    *(None, bool, int, float, complex, str, bytes, bytearray, Any, uuid.UUID),
    *(decimal.Decimal, dt.date, dt.datetime, dt.time, dt.timedelta, File, Dir, Path),
    *(list[int], list[Any], tuple[int, ...], tuple[int, str], tuple[()], set[Address]),
    *(frozenset[str], dict[str, list[float]], dict[Point, int]),
    *(collections.abc.Sequence[int], collections.abc.Set[int]),
    *(Colour, Point, Movie, Address, Person, Box[int], Person | None),
    *(int | None, int | float | str, list[int] | dict[str, int], dt.date | dt.datetime),
    *(Address | Point, Literal["a", 1, True] | None, Literal[Colour.RED]),
    *(np.ndarray, np.ndarray[Any, np.dtype[np.float64]], np.int32),
]


@pytest.mark.parametrize("annotation", TYPES, ids=str)
def test_a_type_made_of_a_description_has_the_same_one(annotation: Any) -> None:
    description = describe(annotation)

    assert describe(annotation_of(description)) == description


_addresses = st.builds(Address, street=st.text(), number=st.none() | st.integers())
_people = st.recursive(
    st.builds(Person, name=st.text(), addresses=st.lists(_addresses, max_size=2)),
    lambda inner: st.builds(
        Person,
        name=st.text(),
        friend=inner,
        scores=st.dictionaries(st.tuples(st.integers(), st.text()), st.floats()),
    ),
    max_leaves=3,
)


@given(
    st.one_of(
        st.tuples(st.just(Person), _people),
        st.tuples(st.just(set[Address]), st.sets(_addresses)),
        st.tuples(st.just(Colour | None), st.none() | st.sampled_from(Colour)),
        st.tuples(st.just(Twins), st.sampled_from(Twins)),
        st.tuples(st.just(Opaque), st.sampled_from(Opaque)),
        st.tuples(
            st.just(int | float | str | list[int] | Point),
            st.integers()
            | st.floats()
            | st.text()
            | st.lists(st.integers())
            | st.builds(Point, x=st.integers(), y=st.floats()),
        ),
        st.tuples(
            st.just(Literal["a", 1, True, Colour.RED]),
            st.sampled_from(["a", 1, True, Colour.RED]),
        ),
    )
)
def test_documents_are_the_same_by_either_type(case: tuple[Any, Any]) -> None:
    annotation, value = case
    document = encode(value, annotation, None)
    made = annotation_of(describe(annotation))

    assert encode(decode(document, made, None), made, None) == document


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int | float | str, "3"),
        (int | float | str, "3.5"),
        (int | float | str, "three"),
        (dt.date | None, "2026-11-21"),
        (bool | str, "true"),
        (Colour, "GREEN"),
        (Colour, "red"),
        (Colour, "2"),
        (Literal["a", 1, Colour.RED], "RED"),
        (list[Address], '[{"street": "s", "number": 3}]'),
        (dict[str, Point], '{"a": [1, 2.5]}'),
        (Movie, '{"title": "t"}'),
        (dt.timedelta, "1h30m"),
        (bytes, "abc"),
        (Any, '{"a": [1]}'),
        (np.ndarray[Any, np.dtype[np.float64]], "[1, 2]"),
        (Person, '{"name": "n", "addresses": [], "friend": null, "scores": []}'),
    ],
    ids=str,
)
def test_texts_mean_the_same_by_either_type(annotation: Any, text: str) -> None:
    made = annotation_of(describe(annotation))

    document = encode(read(made, text), made, None)

    assert document == encode(read(annotation, text), annotation, None)


def test_files_go_along(tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text("content")
    blobs = ValueBlobs(tmp_path / "blobs")
    made = annotation_of(describe(list[File]))
    text = f'["{tmp_path / "input.txt"}"]'

    document = encode(read(made, text), made, blobs)

    (file,) = decode(document, list[File], blobs, files=str(tmp_path / "files"))
    assert Path(file).read_text() == "content"


@pytest.mark.parametrize(
    "description",
    ["nothing.known", {"again": "Node"}, {"pydantic": "EmailStr"}, {"new": 1}, 7],
    ids=str,
)
def test_what_can_not_be_made_is_refused(description: Any) -> None:
    with pytest.raises(UnsupportedError, match="can be made here"):
        annotation_of(description)
