"""Typed values become documents and values again, here and in another process."""

from __future__ import annotations

import collections
import collections.abc
import datetime as dt
import decimal
import enum
import json
import math
import os
import stat
import struct
import subprocess
import sys
import threading
import typing
import uuid
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagekit import records
from imagekit.digest import Digest
from imagekit.errors import SourceNotFoundError, StoreError
from imagekit.io import Dir, File
from imagekit.task_errors import RuntimeDataValidationError
from imagekit.value_blobs import ValueBlobs
from imagekit.values import (
    blob_digests,
    decode,
    describe,
    document_bytes,
    encode,
    inline_size,
)

T = TypeVar("T")
B = TypeVar("B", bound=int)


class Color(enum.Enum):
    RED = "red"
    GREEN = 2
    CRIMSON = "red"  # noqa: PIE796  (an alias)


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Rights(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Point(NamedTuple):
    x: int
    y: float = 0.0


class Movie(TypedDict):
    title: str
    year: typing.NotRequired[int]


@dataclass
class Address:
    street: str
    number: int | None = None


@dataclass
class Person:
    name: str
    addresses: list[Address] = field(default_factory=list)
    friend: Person | None = None
    scores: dict[tuple[int, str], float] = field(default_factory=dict)
    blob: bytes = b""


@dataclass
class Employee(Person):
    salary: int = 0


@dataclass(frozen=True, slots=True)
class Box(Generic[T]):
    content: T
    more: tuple[T, ...] = ()


@dataclass(frozen=True)
class IntBox(Box[int]):
    label: str = ""


@records.dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    kind: typing.ClassVar[str] = "record"
    name: str
    parts: tuple[int, ...] = ()


@dataclass
class Derived:
    width: int
    area: int = field(init=False)

    def __post_init__(self) -> None:
        self.area = self.width**2
        self.note = "derived"

    @cached_property
    def doubled(self) -> int:
        return self.width * 2


UserId = typing.NewType("UserId", int)


@pytest.fixture
def blobs(tmp_path: Path) -> ValueBlobs:
    return ValueBlobs(tmp_path / "blobs")


def through(value: object, annotation: Any, blobs: ValueBlobs | None = None) -> Any:
    """Return *value* as it is after a trip through bytes."""
    text = document_bytes(encode(value, annotation, blobs))
    return decode(json.loads(text), annotation, blobs)


def same(one: Any, other: Any) -> bool:
    """Return whether two values can't be told apart, down to the bits of a float."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other)
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, decimal.Decimal):
        return str(one) == str(other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, set | frozenset):
        return len(one) == len(other) and all(
            any(same(item, it) for it in other) for item in one
        )
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, dt.datetime | dt.time):
        return repr(one) == repr(other)
    if isinstance(one, Address | Person | Box | Record):
        names = [item.name for item in records_fields(one)]
        return all(same(getattr(one, name), getattr(other, name)) for name in names)
    return bool(one == other)


def records_fields(value: Any) -> Any:
    import dataclasses

    return dataclasses.fields(value)


# ---------------------------------------------------------------- generated values

texts = st.text(st.characters(exclude_categories=()), max_size=5)
zones = st.sampled_from(
    [
        None,
        dt.UTC,
        dt.timezone(dt.timedelta(hours=-3, seconds=7)),
        dt.timezone(dt.timedelta(hours=1), "CET"),
        ZoneInfo("Europe/Zurich"),
    ]
)
numbers = st.integers() | st.integers(-(10**400), 10**400)


class Case(NamedTuple):
    """An annotation, and values that are exactly of it."""

    annotation: Any
    values: st.SearchStrategy[Any]
    hashable: bool = True


addresses = st.builds(Address, texts, st.none() | numbers)
SCALARS = [
    Case(None, st.none()),
    Case(bool, st.booleans()),
    Case(int, numbers),
    Case(float, st.floats()),
    Case(complex, st.complex_numbers()),
    Case(str, texts),
    Case(bytes, st.binary(max_size=9)),
    Case(bytearray, st.binary(max_size=9).map(bytearray), hashable=False),
    Case(decimal.Decimal, st.decimals(allow_nan=False)),
    Case(uuid.UUID, st.uuids()),
    Case(dt.date, st.dates()),
    Case(dt.datetime, st.datetimes(timezones=zones)),
    Case(dt.time, st.times(timezones=zones)),
    Case(dt.timedelta, st.timedeltas()),
    Case(PurePosixPath, texts.map(PurePosixPath)),
    Case(Color, st.sampled_from(Color)),
    Case(Size, st.sampled_from(Size)),
    Case(Rights, st.sampled_from([Rights(0), Rights.READ, Rights.READ | Rights.WRITE])),
    Case(
        Literal[1, True, "a", b"b", Color.RED] | None,
        st.sampled_from([1, True, "a", b"b", None, Color.RED]),
    ),
    Case(Address, addresses, hashable=False),
    Case(
        Person,
        st.recursive(
            st.builds(Person, texts, st.lists(addresses, max_size=2)),
            lambda inner: st.builds(Person, texts, friend=inner),
            max_leaves=3,
        ),
        hashable=False,
    ),
    Case(Record, st.builds(Record, name=texts, parts=st.tuples(numbers, numbers))),
    Case(Point, st.builds(Point, numbers, st.floats())),
    Case(
        Movie,
        st.fixed_dictionaries({"title": texts}, optional={"year": numbers}),
        hashable=False,
    ),
    Case(UserId, numbers),
    Case(Annotated[int, "unit"], numbers),
]


def of(generic: Any, *arguments: Any) -> Any:
    return generic[arguments[0] if len(arguments) == 1 else arguments]


def larger(inner: st.SearchStrategy[Case]) -> st.SearchStrategy[Case]:
    hashable = inner.filter(lambda case: case.hashable)

    def fixed(cases: list[Case]) -> Case:
        return Case(
            of(tuple, *[case.annotation for case in cases]),
            st.tuples(*[case.values for case in cases]),
            all(case.hashable for case in cases),
        )

    def union(cases: list[Case]) -> Case:
        return Case(
            typing.Union[tuple(case.annotation for case in cases)],  # noqa: UP007
            st.one_of(*[case.values for case in cases]),
            all(case.hashable for case in cases),
        )

    return st.one_of(
        inner.map(
            lambda it: Case(
                of(list, it.annotation), st.lists(it.values, max_size=3), False
            )
        ),
        inner.map(
            lambda it: Case(
                of(tuple, it.annotation, ...),
                st.lists(it.values, max_size=3).map(tuple),
                it.hashable,
            )
        ),
        inner.map(
            lambda it: Case(
                of(collections.abc.Sequence, it.annotation),
                st.lists(it.values, max_size=3).map(tuple)
                | st.lists(it.values, max_size=3),
                False,
            )
        ),
        hashable.map(
            lambda it: Case(
                of(set, it.annotation), st.sets(it.values, max_size=3), False
            )
        ),
        hashable.map(
            lambda it: Case(
                of(frozenset, it.annotation), st.frozensets(it.values, max_size=3)
            )
        ),
        st.tuples(hashable, inner).map(
            lambda pair: Case(
                of(dict, pair[0].annotation, pair[1].annotation),
                st.dictionaries(pair[0].values, pair[1].values, max_size=3),
                False,
            )
        ),
        inner.map(
            lambda it: Case(
                of(typing.Optional, it.annotation),
                it.values | st.none(),
                it.hashable,
            )
        ),
        st.lists(inner, max_size=3).map(fixed),
        st.lists(inner, min_size=2, max_size=3).map(union),
        inner.map(
            lambda it: Case(
                of(Box, it.annotation),
                st.builds(Box, it.values, st.tuples(it.values)),
                it.hashable,
            )
        ),
    )


cases = st.recursive(st.sampled_from(SCALARS), larger, max_leaves=4)


@st.composite
def typed_values(draw: st.DrawFn) -> tuple[Any, Any, Any]:
    case = draw(cases)
    return case.annotation, draw(case.values), draw(case.values)


@given(typed_values())
def test_a_decoded_value_is_the_one_that_was_encoded(
    drawn: tuple[Any, Any, Any],
) -> None:
    annotation, value, _ = drawn

    assert same(through(value, annotation), value)


@given(typed_values())
def test_documents_are_equal_exactly_where_values_are(
    drawn: tuple[Any, Any, Any],
) -> None:
    annotation, one, other = drawn
    again = through(one, annotation)
    documents = [
        document_bytes(encode(value, annotation, None)) for value in (one, other, again)
    ]

    assert documents[0] == documents[2]
    assert (documents[0] == documents[1]) == same(one, other)


@given(typed_values(), typed_values())
def test_values_are_the_same_where_descriptions_are(
    one: tuple[Any, Any, Any], other: tuple[Any, Any, Any]
) -> None:
    annotation, value, _ = one

    if describe(annotation) == describe(other[0]):
        assert encode(value, other[0], None) == encode(value, annotation, None)
    else:
        assert annotation != other[0]


@st.composite
def dynamic_values(draw: st.DrawFn) -> Any:
    simple = st.one_of(
        *[case.values for case in SCALARS if case.annotation is not UserId]
    )
    values = st.recursive(
        simple,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(texts | numbers, inner, max_size=3)
        ),
        max_leaves=5,
    )
    return draw(values)


@given(dynamic_values())
def test_values_without_annotation_keep_their_types(value: Any) -> None:
    assert same(through(value, Any), value)
    assert same(through([value], list), [value])


@pytest.mark.parametrize(
    "value",
    ["\ud83d\ude00", "\udcff", "a\x00b", 10**5000, -(10**5000), -0.0, math.nan, b"x"],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("annotation", [Any, "own"])
def test_odd_scalars_survive(value: Any, annotation: Any) -> None:
    wanted = type(value) if annotation == "own" else annotation

    assert same(through(value, wanted), value)


def test_the_order_of_a_set_makes_no_difference() -> None:
    words = [f"word {number}" for number in range(100)]
    one, other = set(words), {*words[::-1]}

    assert document_bytes(encode(one, set[str], None)) == document_bytes(
        encode(other, set[str], None)
    )


# ---------------------------------------------------------------- widening and unions


@pytest.mark.parametrize(
    ("annotation", "value", "wanted"),
    [
        (float, 3, 3.0),
        (float, 2**53, 2.0**53),
        (complex, 3, 3 + 0j),
        (decimal.Decimal, 3, decimal.Decimal(3)),
        (int, Size.LARGE, 2),
        (list[float], [1, 2.5], [1.0, 2.5]),
        (tuple[int, ...], Point(1, 2), (1, 2)),
        (dict[str, int], collections.OrderedDict(a=1), {"a": 1}),
        (bytes, bytearray(b"a"), b"a"),
        (int | float, 1, 1),
        (float | int, 1, 1),
        (float | str, 1, 1.0),
        (list[float] | list[int], [1], [1]),
        (str | bytes, b"a", b"a"),
        (Address | Person, Person("a"), Person("a")),
        (Person | Employee, Employee("a", salary=3), Employee("a", salary=3)),
        (int | Literal["auto"] | None, "auto", "auto"),
        (collections.abc.Mapping[str, int], {"a": 1}, {"a": 1}),
        (collections.abc.Iterable[int], {1, 2}, {1, 2}),
        (Annotated[int, ["not hashable"]], 1, 1),
        (typing.List, [1, "a"], [1, "a"]),  # noqa: UP006
        (typing.Tuple, (1, "a"), (1, "a")),  # noqa: UP006
        (tuple[()], (), ()),
        (B, 3, 3),
        (T, "x", "x"),
        (object, Color.RED, Color.RED),
    ],
)
def test_values_become_what_the_annotation_wants(
    annotation: Any, value: Any, wanted: Any
) -> None:
    assert same(through(value, annotation), wanted)


def test_typing_s_memory_of_unions_makes_no_difference() -> None:
    # typing gives the first for both: another process may have it the other way round.
    one, other = UnionOf(int, str), UnionOf(str, int)
    document = encode(1, one, None)

    assert decode(document, other, None) == 1
    assert describe(one) == describe(other)
    assert document == encode(1, other, None)


def UnionOf(*members: Any) -> Any:  # noqa: N802
    return typing.Union[members]  # noqa: UP007


def test_a_subclass_of_a_dataclass_keeps_its_class_and_fields() -> None:
    employee = Employee("Ada", [Address("Main", 3)], salary=10)

    assert same(through(employee, Person), employee)
    assert through(employee, Person).salary == 10


def test_attributes_that_are_no_fields_go_along_and_init_is_not_run() -> None:
    value = Derived(3)
    value.area = -1
    value.note = "changed"
    assert value.doubled == 6
    found = through(value, Derived)

    assert (found.width, found.area, found.note) == (3, -1, "changed")
    assert "doubled" not in vars(found)


def test_fields_of_a_generic_base_are_those_of_its_arguments() -> None:
    assert through(IntBox(1, (2,), "a"), IntBox) == IntBox(1, (2,), "a")
    with pytest.raises(RuntimeDataValidationError, match=r"\.content: wanted int"):
        encode(IntBox("a", (), "a"), IntBox, None)  # type: ignore[arg-type]


if sys.version_info >= (3, 12):  # where there are "type" statements

    def test_named_aliases_may_hold_themselves() -> None:
        names: dict[str, Any] = {}
        exec("type Tree = dict[str, Tree] | int\ntype Pair[T] = tuple[T, T]", names)
        tree = {"a": {"b": 1}, "c": 2}

        assert through(tree, names["Tree"]) == tree
        assert through((1, 2), names["Pair"][int]) == (1, 2)
        assert describe(names["Tree"]) != describe(int)


# ---------------------------------------------------------------- errors


@dataclass
class Loose:
    item: list[Any] = field(default_factory=list)


class Plain:
    pass


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (int, "a", "value: wanted int, found 'a' (str)"),
        (int, True, "value: wanted int, found True (bool)"),
        (int, 1.0, "value: wanted int, found 1.0 (float)"),
        (int, None, "value: wanted int, found None"),
        (float, True, "value: wanted float, found True (bool)"),
        (float, 2**53 + 1, "value: wanted float, found 9007199254740993 (int)"),
        (str, b"a", "value: wanted str, found b'a' (bytes)"),
        (bool, 1, "value: wanted bool, found 1 (int)"),
        (None, 1, "value: wanted None, found 1 (int)"),
        (type(None), 0, "value: wanted None, found 0 (int)"),
        (list[int], (1,), "value: wanted list[int], found (1,) (tuple)"),
        (list[int], [1, "a"], "value[1]: wanted int, found 'a' (str)"),
        (
            dict[str, list[int]],
            {"k": [0, "a"]},
            "value['k'][1]: wanted int, found 'a' (str)",
        ),
        (dict[int, int], {"k": 1}, "value.keys(): 'k': wanted int, found 'k' (str)"),
        (tuple[int, str], (1,), "value: wanted tuple[int, str], found 1 items: (1,)"),
        (tuple[int, str], (1, 2), "value[1]: wanted str, found 2 (int)"),
        (set[int], {"a"}, "value{…}: wanted int, found 'a' (str)"),
        (
            Person,
            Person("a", [Address("s", "x")]),  # type: ignore[arg-type]
            "value.addresses[0].number: wanted int, found 'x' (str)",
        ),
        (Person, {"name": "a"}, "value: wanted Person, found {'name': 'a'} (dict)"),
        (int | str | None, 1.5, "value: wanted int | str | None, found 1.5 (float)"),
        (
            list[int] | str,
            ["a"],
            "value[0]: wanted int, found 'a' (str)",
        ),
        (Color, "red", "value: wanted Color, found 'red' (str)"),
        (Literal[1, 2], 3, "value: wanted one of 1, 2, found 3"),
        (Literal[1], True, "value: wanted one of 1, found True"),
        (
            dt.date,
            dt.datetime(2020, 1, 1),  # noqa: DTZ001  (no zone)
            "value: wanted date, found datetime.datetime(2020, 1, 1, 0, 0) (datetime)",
        ),
        (Movie, {"year": 1}, "value: Movie needs the key 'title'"),
        (Movie, {"title": "a", "x": 1}, "value: Movie has no key 'x'"),
        (Movie, {"title": 1}, "value['title']: wanted str, found 1 (int)"),
        (Point, (1, 2), "value: wanted Point, found (1, 2) (tuple)"),
        (
            collections.abc.Sequence[str],
            "abc",
            "value: wanted Sequence[str], found 'abc' (str)",
        ),
        (Any, Plain, "value: can't pass on <class 'test_values.Plain'> (type)"),
        (Any, [threading.Lock], "value[0]: can't pass on"),
        (Loose, Loose([lambda: 1]), "value.item[0]: can't pass on <function"),
        (File, "a.txt", "value: wanted File, found 'a.txt' (str)"),
        (
            Path,
            Path("/nowhere/at/all"),
            "value: can't read '/nowhere/at/all': No such file",
        ),
    ],
    ids=lambda value: str(value).partition(" at 0x")[0],  # equal in each process
)
def test_wrong_values_say_where_and_what(
    annotation: Any, value: Any, message: str, blobs: ValueBlobs
) -> None:
    with pytest.raises(RuntimeDataValidationError) as caught:
        encode(value, annotation, blobs)

    assert (
        str(caught.value)
        .replace("tests.test_values", "test_values")
        .startswith(message)
    )


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (collections.abc.Callable[[int], int], "Callable[[int], int]"),
        (Plain, "Plain"),
        (list[Plain], "Plain"),
        (type[int], "type[int]"),
        (collections.abc.Iterator[int], "Iterator[int]"),
        (threading.Thread, "Thread"),
        (Exception, "Exception"),
    ],
    ids=str,
)
def test_unsupported_annotations_are_named(annotation: Any, name: str) -> None:
    actions: list[collections.abc.Callable[[], Any]] = [
        lambda: encode(1, annotation, None),
        lambda: describe(annotation),
    ]
    for action in actions:
        with pytest.raises(
            RuntimeDataValidationError, match="can't be passed on"
        ) as it:
            action()

        assert name in str(it.value)
        assert it.value.hint is not None


def test_a_field_of_an_unsupported_type_is_named() -> None:
    with pytest.raises(RuntimeDataValidationError, match="Holder name 'Missing'"):
        describe(NamesMissing)
    with pytest.raises(RuntimeDataValidationError, match=r"\.run: .*Callable"):
        encode(HasCallable(print), HasCallable | int, None)


@dataclass
class HasCallable:
    run: collections.abc.Callable[..., Any]


if typing.TYPE_CHECKING:
    Missing = int


@dataclass
class NamesMissing:
    it: Missing


NamesMissing.__qualname__ = "Holder"


def test_classes_made_in_functions_are_refused_without_annotation() -> None:
    @dataclass
    class Local:
        x: int

    with pytest.raises(RuntimeDataValidationError, match="can't be found by its name"):
        encode(Local(1), Any, None)


def test_values_that_hold_themselves_are_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(RuntimeDataValidationError, match="holds itself"):
        encode(endless, Any, None)


def test_a_repr_that_raises_does_no_harm() -> None:
    class Bad:
        def __repr__(self) -> str:
            raise ValueError("no")

    with pytest.raises(RuntimeDataValidationError, match="no repr: ValueError"):
        encode(Bad(), int, None)


def test_time_zones_of_other_libraries_are_kept_if_fixed() -> None:
    class Fixed(dt.tzinfo):
        def dst(self, _: object) -> None:
            return None

        def utcoffset(self, _: object) -> dt.timedelta:
            return dt.timedelta(hours=2)

        def tzname(self, _: object) -> str:
            return "two"

    class Moving(Fixed):
        def utcoffset(self, moment: object) -> dt.timedelta | None:  # type: ignore[override]
            return moment and dt.timedelta(0)  # type: ignore[return-value]

    moment = dt.datetime(2020, 1, 1, tzinfo=Fixed())

    assert through(moment, dt.datetime) == moment
    with pytest.raises(RuntimeDataValidationError, match="wanted a time zone of"):
        encode(dt.datetime(2020, 1, 1, tzinfo=Moving()), dt.datetime, None)


# ---------------------------------------------------------------- documents from afar


@pytest.mark.parametrize(
    ("document", "annotation"),
    [
        ("1", int),
        (True, int),
        (1, float),
        ({}, list[int]),
        ([1], tuple[int, str]),
        ({"$as": "float", "value": 1.0}, int | str),
        ("BLUE", Color),
        ({"name": "a"}, Person),
        ({"name": "a", "other": 1}, Record),
        ({"$class": "os:system", "value": {}}, Any),
        ({"$class": "test_values:Plain", "value": {}}, Any),
        ({"$class": "not.there:Thing", "value": {}}, Any),
        ({"$type": "module", "value": "os"}, Any),
        ({"$type": "numpy.testing", "value": "os"}, Any),
        ({"$bytes": "%"}, bytes),
        ({"$text": "zz"}, str),
        ("2020-13-01", dt.date),
    ],
    ids=str,
)
def test_damaged_documents_are_refused(document: Any, annotation: Any) -> None:
    with pytest.raises(RuntimeDataValidationError):
        decode(document, annotation, None)


def test_no_document_imports_a_module() -> None:
    assert "this" not in sys.modules
    with pytest.raises(RuntimeDataValidationError, match="is not loaded here"):
        decode({"$class": "this:Zen", "value": {}}, Any, None)

    assert "this" not in sys.modules


def test_classes_of_other_processes_may_be_renamed() -> None:
    document = encode(Record(name="a"), Any, None, renamed={__name__: "elsewhere"})

    assert document["$class"] == "elsewhere:Record"
    assert decode(document, Any, None, renamed={"elsewhere": __name__}) == Record(
        name="a"
    )


def test_another_process_decodes_the_same(blobs: ValueBlobs, tmp_path: Path) -> None:
    script = tmp_path / "pipeline.py"
    script.write_text(PIPELINE)
    documents = tmp_path / "documents.json"

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words, str(blobs.folder), str(documents)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": "random"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    written = run("pipeline.py", "write")
    # As a script, where the class is in __main__, and imported by another.
    assert run("pipeline.py", "read") == written
    assert run("-c", "import pipeline; pipeline.main('read')") == written
    assert run("-c", "import pipeline; pipeline.main('write')") == written


PIPELINE = """
import json, sys
from dataclasses import dataclass
from typing import Any
from imagekit.value_blobs import ValueBlobs
from imagekit.values import decode, describe, document_bytes, encode

@dataclass
class Model:
    weights: bytes
    names: frozenset[str]
    next: "Model | None" = None

def main(command):
    folder, path = sys.argv[-2:]
    blobs = ValueBlobs(folder)
    value = Model(b"w" * 10000, frozenset("abcdefgh"), Model(b"", frozenset()))
    if command == "write":
        documents = [encode(value, Model, blobs), encode(value, Any, blobs)]
        open(path, "wb").write(document_bytes(documents))
    text = open(path, "rb").read()
    typed, untyped = json.loads(text)
    assert decode(typed, Model, blobs) == value
    assert decode(untyped, Any, blobs) == value
    print(text.decode(), document_bytes(describe(Model)).decode())

if __name__ == "__main__":
    main(sys.argv[1])
"""


# ---------------------------------------------------------------- blobs and sizes


def test_many_bytes_are_a_blob_and_few_are_not(blobs: ValueBlobs) -> None:
    large, small = b"x" * 100_000, b"y" * 10
    document = encode([large, small], list[bytes], blobs)

    assert list(blob_digests(document)) == [Digest.of(large)]
    assert len(document_bytes(document)) < 1000
    assert inline_size(document) > 100_000
    assert through([large, small], list[bytes], blobs) == [large, small]
    assert through(large, Any, blobs) == large


def test_texts_of_users_never_look_like_blobs(blobs: ValueBlobs) -> None:
    value = {"$blob": "sha256:" + "0" * 64, "$type": "File", "$class": "os:system"}
    document = encode(value, Any, blobs)

    assert list(blob_digests(document)) == []
    assert through(value, Any, blobs) == value
    assert through(value, dict[str, str], blobs) == value


def test_blobs_are_named_by_what_they_hold(blobs: ValueBlobs, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "file").write_bytes(data)
    digest = blobs.put_file(tmp_path / "file")

    assert digest == Digest.of(data) == blobs.put_bytes(data)
    assert blobs.has(digest)
    assert blobs.read(digest) == data
    assert list((blobs.folder / "partial").iterdir()) == []


def test_a_writer_that_fails_leaves_nothing(blobs: ValueBlobs) -> None:
    def write(sink: Any) -> None:
        sink.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        blobs.put(write)

    assert [path for path in blobs.folder.rglob("*") if path.is_file()] == []


def test_a_killed_writer_leaves_no_blob(tmp_path: Path) -> None:
    program = (
        "import os, sys; from imagekit.value_blobs import ValueBlobs\n"
        "def write(sink):\n"
        "    sink.write(b'half'); os.kill(os.getpid(), 9)\n"
        "ValueBlobs(sys.argv[1]).put(write)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "blobs")])
    blobs = ValueBlobs(tmp_path / "blobs")

    assert done.returncode == -9
    assert not blobs.has(Digest.of(b"half"))
    assert {path.parent.name for path in blobs.folder.rglob("*") if path.is_file()} <= {
        "partial"
    }


def test_damaged_and_missing_blobs_are_noticed(blobs: ValueBlobs) -> None:
    document = encode(b"x" * 10_000, bytes, blobs)
    path = blobs.path(Digest.of(b"x" * 10_000))
    path.write_bytes(b"y" * 10_000)

    with pytest.raises(StoreError, match="is damaged"):
        decode(document, bytes, blobs)
    path.unlink()
    with pytest.raises(StoreError, match="can't read blob"):
        decode(document, bytes, blobs)


def test_a_folder_that_can_t_be_written_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match="can't write"):
        ValueBlobs(tmp_path / "file").put_bytes(b"x")


# ---------------------------------------------------------------- files


def test_a_file_goes_along_with_its_name_and_mode(
    blobs: ValueBlobs, tmp_path: Path
) -> None:
    path = tmp_path / "tool.sh"
    path.write_bytes(b"#!/bin/sh\n")
    path.chmod(0o755)
    given_file = File.from_local(path)
    document = encode(given_file, File, blobs)
    folder = tmp_path / "in"
    one = decode(document, File, blobs, files=str(folder))
    other = decode(document, File, blobs, files=str(folder))

    assert one.name == "tool.sh"
    assert one.digest == given_file.digest == Digest.of(b"#!/bin/sh\n")
    assert one.path != other.path
    assert Path(one.path).is_relative_to(folder)
    assert os.access(one.path, os.X_OK)
    with one.open("r+b") as file:
        file.write(b"changed")
    with other.open() as file:
        assert file.read() == b"#!/bin/sh\n"
    assert blobs.read(other.digest) == b"#!/bin/sh\n"
    assert inline_size(document) < 100


async def _awaited(path: Path) -> File:
    return await File.from_local(path)


def test_files_may_be_awaited(tmp_path: Path) -> None:
    import asyncio

    (tmp_path / "a").write_text("")

    assert asyncio.run(_awaited(tmp_path / "a")) == File.from_local(tmp_path / "a")


@pytest.mark.parametrize("kind", [File, Dir])
def test_files_that_are_not_there_are_refused_at_once(kind: Any) -> None:
    with pytest.raises(SourceNotFoundError, match="/nowhere"):
        kind.from_local("/nowhere")


def test_a_folder_goes_along_with_all_that_is_in_it(
    blobs: ValueBlobs, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    (root / "deep" / "empty").mkdir(parents=True)
    (root / "deep" / "file.bin").write_bytes(b"x" * 5000)
    (root / "run").write_text("#!")
    (root / "run").chmod(0o700)
    (root / "link").symlink_to("deep/file.bin")
    (root / "dangling").symlink_to("not-there")
    document = encode(Dir.from_local(root), Dir, blobs)
    found = Path(decode(document, Dir, blobs, files=str(tmp_path / "in")).path)

    assert found.name == "data"
    assert sorted(str(path.relative_to(found)) for path in found.rglob("*")) == sorted(
        str(path.relative_to(root)) for path in root.rglob("*")
    )
    assert (found / "deep" / "file.bin").read_bytes() == b"x" * 5000
    assert os.readlink(found / "link") == "deep/file.bin"
    assert (found / "run").stat().st_mode & stat.S_IXUSR
    assert not (found / "deep" / "file.bin").stat().st_mode & stat.S_IXUSR
    again = encode(Dir(str(found)), Dir, blobs)
    assert again == document


def test_links_out_of_a_folder_are_refused(blobs: ValueBlobs, tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    (root / "link").symlink_to("../secret")

    with pytest.raises(RuntimeDataValidationError, match="leaves the folder"):
        encode(Dir(str(root)), Dir, blobs)


@pytest.mark.parametrize(
    "entry",
    [
        {"folder": "../out"},
        {"folder": "/out"},
        {"folder": "a/../../out"},
        {"folder": ""},
        {"link": "a", "to": "/etc"},
        {"link": "a", "to": "../.."},
        {"link": "../a", "to": "b"},
    ],
    ids=str,
)
def test_documents_of_folders_write_nothing_outside(
    entry: Any, blobs: ValueBlobs, tmp_path: Path
) -> None:
    folder = tmp_path / "in"

    with pytest.raises(RuntimeDataValidationError):
        decode({"$file": {"name": "x", "tree": [entry]}}, Dir, blobs, files=str(folder))
    with pytest.raises(RuntimeDataValidationError, match="wanted the name of a file"):
        decode({"$file": {"name": "../x", "tree": []}}, Dir, blobs, files=str(folder))
    assert not (tmp_path / "out").exists()


def test_a_path_takes_along_what_it_leads_to(blobs: ValueBlobs, tmp_path: Path) -> None:
    (tmp_path / "é\udcff").write_text("text")
    found = decode(
        encode(tmp_path / "é\udcff", Path, blobs),
        Path,
        blobs,
        files=str(tmp_path / "in"),
    )

    assert isinstance(found, Path)
    assert found.name == "é\udcff"
    assert found.read_text() == "text"
    document = encode(tmp_path / "in", Any, blobs)
    folder = decode(document, Any, blobs, files=str(tmp_path / "again"))
    assert [path.read_text() for path in folder.rglob("*") if path.is_file()] == [
        "text"
    ]


def test_other_things_than_files_are_refused(blobs: ValueBlobs, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(RuntimeDataValidationError, match="is no file, folder or"):
        encode(Dir(str(tmp_path)), Dir, blobs)


def test_what_describes_a_class_changes_with_its_fields() -> None:
    import dataclasses

    one = dataclasses.make_dataclass("Same", [("a", int)])
    other = dataclasses.make_dataclass("Same", [("a", str)])
    again = dataclasses.make_dataclass("Same", [("a", int)])

    assert describe(one) == describe(again)
    assert describe(one) != describe(other)


def test_importing_the_values_costs_little() -> None:
    program = (
        "import sys; before = set(sys.modules)\n"
        "import imagekit.interface, imagekit.io, imagekit.failures, imagekit.values\n"
        "print(*(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    heavy = {"inspect", "asyncio", "subprocess", "socket", "numpy", "decimal", "uuid"}

    assert not heavy & set(done.stdout.split())
