"""Arrays, frames and models are kept exactly, or refused."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import pytest

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

numpy: Any = pytest.importorskip("numpy")
pandas: Any = pytest.importorskip("pandas")
pydantic: Any = pytest.importorskip("pydantic")
T = TypeVar("T")


@pytest.fixture
def blobs(tmp_path: Path) -> ValueBlobs:
    return ValueBlobs(tmp_path / "blobs")


def through(value: object, annotation: Any, blobs: ValueBlobs | None = None) -> Any:
    text = document_bytes(encode(value, annotation, blobs))
    found = decode(json.loads(text), annotation, blobs)
    # Its own document is the same again.
    assert document_bytes(encode(found, annotation, blobs)) == text
    return found


# ---------------------------------------------------------------- NumPy

ARRAYS = {
    "ints": numpy.arange(12).reshape(3, 4),
    "none": numpy.zeros((0, 3)),
    "one": numpy.array(3.5),
    "fortran": numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3)),
    "strides": numpy.arange(20)[::3],
    "big-endian": numpy.arange(3, dtype=">i2"),
    "nan": numpy.array([numpy.nan, -0.0, numpy.inf]),
    "texts": numpy.array(["a", "é\ud800"]),
    "bytes": numpy.array([b"a", b"bc"]),
    "times": numpy.array(["2020-01-01", "NaT"], dtype="datetime64[ms]"),
    "records": numpy.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
    "complex": numpy.array([1 + 2j]),
    "bools": numpy.array([True, False]),
    "large": numpy.arange(100_000, dtype="float32"),
}


@pytest.mark.parametrize("annotation", [Any, "ndarray"])
@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_arrays_are_kept(array: Any, annotation: Any, blobs: ValueBlobs) -> None:
    wanted = numpy.ndarray if annotation == "ndarray" else annotation
    found = through(array, wanted, blobs)

    assert type(found) is numpy.ndarray
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()
    assert found.flags.writeable


def test_large_arrays_are_blobs_and_not_inline(blobs: ValueBlobs) -> None:
    document = encode([ARRAYS["large"]] * 2, list[numpy.ndarray], blobs)

    assert len(set(blob_digests(document))) == 1
    assert inline_size(document) < 100


def test_the_order_in_memory_makes_no_difference() -> None:
    one = ARRAYS["fortran"]

    assert encode(one, numpy.ndarray, None) == encode(
        one.copy("C"), numpy.ndarray, None
    )


def test_element_types_are_checked() -> None:
    wanted = numpy.ndarray[Any, numpy.dtype[numpy.float64]]
    array = numpy.array([1.5])

    assert through(array, wanted) == array
    assert through(array, numpy.ndarray[Any, numpy.dtype[numpy.floating]]) == array
    with pytest.raises(RuntimeDataValidationError, match="found an array of int64"):
        encode(numpy.array([1]), wanted, None)
    assert describe(wanted) != describe(numpy.ndarray)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (numpy.array([{}], dtype=object), "an array of object can't be passed on"),
        (numpy.ma.array([1]), "wanted ndarray"),
        ([1], "wanted ndarray"),
    ],
    ids=str,
)
def test_other_arrays_are_refused(value: Any, message: str) -> None:
    with pytest.raises(RuntimeDataValidationError, match=message):
        encode(value, numpy.ndarray, None)


@pytest.mark.parametrize(
    "value",
    [
        numpy.float64(-0.0),
        numpy.float32(1.1),
        numpy.int8(-3),
        numpy.bool_(True),
        numpy.str_("é"),
        numpy.str_(""),
        numpy.bytes_(b"ab"),
        numpy.datetime64("2020-01-01", "D"),
        numpy.timedelta64(3, "ns"),
        numpy.complex64(1 + 2j),
    ],
    ids=repr,
)
def test_scalars_are_kept(value: Any) -> None:
    for annotation in (type(value), Any):
        found = through(value, annotation)

        assert type(found) is type(value)
        assert found.dtype == value.dtype
        assert found.tobytes() == value.tobytes()


def test_scalars_become_python_s_own_where_those_are_wanted() -> None:
    assert type(decode(encode(numpy.float64(1.5), float, None), float, None)) is float
    assert type(decode(encode(numpy.int64(3), int, None), int, None)) is int
    assert decode(encode(numpy.bool_(False), bool, None), bool, None) is False
    with pytest.raises(RuntimeDataValidationError, match="wanted int"):
        encode(numpy.timedelta64(3, "ns"), int, None)
    with pytest.raises(RuntimeDataValidationError, match="wanted int"):
        encode(numpy.float64(3), int, None)


# ---------------------------------------------------------------- pandas

days = pandas.date_range("2020-01-01", periods=3, freq="D")
FRAMES = {
    "mixed": pandas.DataFrame(
        {
            "i": [1, 2, 3],
            "f": [1.5, float("nan"), -0.0],
            "s": ["a", None, "\ud800"],
            "b": [True, False, True],
            "t": days,
            "z": days.tz_localize("Europe/Zurich"),
            "c": pandas.Categorical(
                ["x", None, "x"], categories=["y", "x"], ordered=True
            ),
            "n": pandas.array([1, None, 3], dtype="Int64"),
            "nf": pandas.array([1.5, None, 3], dtype="Float64"),
            "nb": pandas.array([True, None, False], dtype="boolean"),
            "na": pandas.array(["a", None, "b"], dtype="string"),
            "d": pandas.to_timedelta([1, 2, None], unit="s"),
            "small": numpy.array([1, 2, 3], dtype="int8"),
        }
    ),
    "objects": pandas.DataFrame(
        {
            "o": pandas.Series(
                [decimal.Decimal("1.10"), dt.date(2020, 1, 1), [1, (2,)]], dtype=object
            ),
            "m": pandas.Series([None, pandas.NA, pandas.NaT], dtype=object),
        }
    ),
    "empty": pandas.DataFrame(),
    "rows only": pandas.DataFrame(index=[1, 2]),
    "columns only": pandas.DataFrame(columns=["a", "b"]),
    "freq": pandas.DataFrame({"a": [1, 2, 3]}, index=days),
    "levels": pandas.DataFrame(
        [[1, 2], [3, 4]],
        index=pandas.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["k", None]),
        columns=pandas.MultiIndex.from_tuples([("x", "y"), ("x", "z")]),
    ),
    "names": pandas.DataFrame(
        [[1, 2.5]],
        columns=pandas.Index([0, "a"], name="cols"),
        index=pandas.Index([7], name=("t", 1)),
    ),
    "twice": pandas.DataFrame([[1, "a"]], columns=["same", "same"]),
    "step": pandas.DataFrame(
        {"a": [1, 2]}, index=pandas.RangeIndex(10, 14, 2, name="r")
    ),
    "categories": pandas.DataFrame(
        {"a": [1, 2]}, index=pandas.CategoricalIndex(["p", "q"])
    ),
}
FRAMES["mixed"].attrs["unit"] = {"i": ("m", 1)}


@pytest.mark.parametrize("annotation", [Any, "DataFrame"])
@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_frames_are_kept(frame: Any, annotation: Any, blobs: ValueBlobs) -> None:
    wanted = pandas.DataFrame if annotation == "DataFrame" else annotation
    found = through(frame, wanted, blobs)

    pandas.testing.assert_frame_equal(
        found,
        frame,
        check_exact=True,
        check_freq=True,
        check_index_type="exact",
        check_column_type="exact",
        check_flags=True,
    )
    assert type(found.index) is type(frame.index)
    assert list(found.dtypes) == list(frame.dtypes)
    assert found.attrs == frame.attrs
    for number in range(frame.shape[1]):
        if str(frame.dtypes.iloc[number]) == "object":
            one, other = frame.iloc[:, number], found.iloc[:, number]
            assert [*map(type, one)] == [*map(type, other)]
    found.index = range(len(found))  # it may be changed


@pytest.mark.parametrize("name", list(FRAMES["mixed"].columns))
def test_series_are_kept(name: str) -> None:
    series = FRAMES["mixed"][name]

    pandas.testing.assert_series_equal(
        through(series, pandas.Series), series, check_exact=True
    )
    pandas.testing.assert_series_equal(through(series, Any), series, check_exact=True)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            pandas.period_range("2020", periods=2, freq="M"),
            r"\['a'\]: a column of period",
        ),
        (pandas.interval_range(0, 2), r"\['a'\]: a column of interval"),
        (pandas.arrays.SparseArray([1, 0]), r"\['a'\]: a column of Sparse"),
        ([object(), 1], r"\['a'\]\[0\]: can't pass on <object"),
    ],
    ids=["period", "interval", "sparse", "object"],
)
def test_columns_that_can_t_be_kept_are_named(column: Any, message: str) -> None:
    with pytest.raises(RuntimeDataValidationError, match=message):
        encode(pandas.DataFrame({"a": column}), pandas.DataFrame, None)


def test_large_columns_are_blobs_and_not_inline(blobs: ValueBlobs) -> None:
    frame = pandas.DataFrame({"a": range(10_000), "b": ["text"] * 10_000})
    document = encode(frame, pandas.DataFrame, blobs)

    assert len(list(blob_digests(document))) == 2
    assert inline_size(document) < 100
    with pytest.raises(RuntimeDataValidationError, match="wanted DataFrame"):
        encode(frame["a"], pandas.DataFrame, blobs)


# ---------------------------------------------------------------- pydantic


class Inner(pydantic.BaseModel):  # type: ignore[misc]
    when: dt.datetime
    data: bytes = b""


class Outer(pydantic.BaseModel):  # type: ignore[misc]
    model_config = pydantic.ConfigDict(extra="allow")

    name: Annotated[str, pydantic.Field(min_length=1)]
    inner: list[Inner] = pydantic.Field(default_factory=list)
    url: pydantic.HttpUrl | None = None
    points: dict[tuple[int, int], float] = pydantic.Field(default_factory=dict)
    next: Outer | None = None
    _hidden: int = pydantic.PrivateAttr(default=0)


class Derived(Inner):
    more: int = 1


class Page(pydantic.BaseModel, Generic[T]):  # type: ignore[misc]
    items: list[T]


class Numbers(pydantic.RootModel[list[int]]):  # type: ignore[misc]
    pass


class Strict(pydantic.BaseModel):  # type: ignore[misc]
    made: int

    @pydantic.field_validator("made")  # type: ignore[untyped-decorator]
    @classmethod
    def doubled(cls, value: int) -> int:
        return value * 2


class WithSecret(pydantic.BaseModel):  # type: ignore[misc]
    token: pydantic.SecretStr


@pydantic.dataclasses.dataclass  # type: ignore[untyped-decorator,unused-ignore]
class Checked:
    size: int


def test_models_are_kept_with_all_that_is_in_them(blobs: ValueBlobs) -> None:
    moment = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    value = Outer(
        name="a",
        inner=[Inner(when=moment, data=b"x" * 9000)],
        url="https://example.org/a",
        points={(1, 2): 0.1},
        next=Outer(name="b"),
        other={"extra": (1,)},
    )
    value._hidden = 7
    for annotation in (Outer, Any):
        found = through(value, annotation, blobs)

        assert found == value
        assert found._hidden == 7
        assert found.model_fields_set == value.model_fields_set
        assert found.other == {"extra": (1,)}
        assert type(found.url) is type(value.url)


def test_validators_are_not_run_again() -> None:
    assert through(Strict(made=1), Strict).made == 2


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (Page[int](items=[1]), Page[int]),
        (Numbers([1, 2]), Numbers),
        (Derived(when=dt.datetime(2020, 1, 1), more=3), Inner),  # noqa: DTZ001
        (Checked(size=3), Checked),  # type: ignore[call-arg]
        (Inner(when=dt.datetime(2020, 1, 1)), Inner | int),  # noqa: DTZ001
        (Inner.model_validate({"when": "2020-01-01T00:00:00+02:00"}), Inner),
    ],
    ids=repr,
)
def test_kinds_of_models_are_kept(value: Any, annotation: Any) -> None:
    found = through(value, annotation)

    assert found == value
    assert type(found) is type(value)


def test_what_is_in_a_model_is_checked() -> None:
    wrong = Inner.model_construct(when="yesterday")

    with pytest.raises(RuntimeDataValidationError, match=r"\.when: wanted datetime"):
        encode(wrong, Inner, None)
    with pytest.raises(RuntimeDataValidationError, match="wanted Inner, found"):
        encode({"when": 1}, Inner, None)
    with pytest.raises(
        RuntimeDataValidationError, match="another value when"
    ) as caught:
        encode(WithSecret(token="s3cret"), WithSecret, None)
    assert "s3cret" not in str(caught.value)


def test_descriptions_of_models_have_their_fields() -> None:
    text = document_bytes(describe(Outer)).decode()

    assert all(name in text for name in Outer.model_fields)
    assert describe(Page[int]) != describe(Page[str])


def test_no_library_is_imported_for_values_of_others() -> None:
    program = (
        "import sys; from imagekit.values import encode, describe; from typing import Any\n"
        "encode([1, 'a', {1: 2}], Any, None); encode(1, int | str, None)\n"
        "describe(dict[str, list[int]])\n"
        "assert not {'numpy', 'pandas', 'pydantic'} & set(sys.modules)"
    )

    subprocess.run([sys.executable, "-c", program], check=True)


def test_another_process_decodes_arrays_and_frames(blobs: ValueBlobs) -> None:
    value = [FRAMES["mixed"], ARRAYS["large"], ARRAYS["records"]]
    document = document_bytes(encode(value, Any, blobs))
    program = (
        "import sys; from imagekit.values import *; from typing import Any\n"
        "from imagekit.value_blobs import ValueBlobs; import json\n"
        "blobs = ValueBlobs(sys.argv[1]); text = sys.stdin.buffer.read()\n"
        "assert 'pandas' not in sys.modules\n"
        "value = decode(json.loads(text), Any, blobs)\n"
        "assert document_bytes(encode(value, Any, blobs)) == text\n"
        "print(value[0].dtypes.to_string())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(blobs.folder)],
        input=document,
        stdout=subprocess.PIPE,
        check=True,
    )

    assert done.stdout.decode().rstrip("\n") == FRAMES["mixed"].dtypes.to_string()
