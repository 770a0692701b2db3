"""What a signature says of a task's inputs and output."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagekit.interface import MISSING, BindingError, Interface
from imagekit.io import File
from imagekit.task_errors import RuntimeDataValidationError
from imagekit.value_blobs import ValueBlobs
from imagekit.values import document_bytes

if TYPE_CHECKING:
    from decimal import Decimal


@dataclass
class Point:
    x: int
    y: int = 0


def typed(a: int, b: str = "x", *, points: list[Point] | None = None) -> dict[str, int]:
    raise NotImplementedError


async def later(a: int) -> Point:
    raise NotImplementedError


def bare(a, b=(1, "x")):  # type: ignore[no-untyped-def]
    raise NotImplementedError


def nothing() -> None:
    raise NotImplementedError


def implied(a: int = None) -> Later:  # type: ignore[assignment]  # noqa: RUF013
    raise NotImplementedError


class Later(Point):
    pass


@pytest.fixture
def blobs(tmp_path: Path) -> ValueBlobs:
    return ValueBlobs(tmp_path / "blobs")


def test_parameters_have_types_and_defaults() -> None:
    interface = Interface.of(typed)

    assert [
        (item.name, item.annotation, item.default) for item in interface.parameters
    ] == [
        ("a", int, MISSING),
        ("b", str, "x"),
        ("points", list[Point] | None, None),
    ]
    assert [item.has_default for item in interface.parameters] == [False, True, True]
    assert interface.output == dict[str, int]


def test_without_annotations_everything_is_any(blobs: ValueBlobs) -> None:
    interface = Interface.of(bare)
    document = interface.encode_inputs(interface.bind((b"1",), {}), blobs)

    assert {item.annotation for item in interface.parameters} == {Any}
    assert interface.output is Any
    assert interface.decode_inputs(document, blobs) == {"a": b"1", "b": (1, "x")}
    assert interface.decode_output(interface.encode_output({1}, blobs), blobs) == {1}


def test_results_of_async_functions_are_what_they_return(blobs: ValueBlobs) -> None:
    interface = Interface.of(later)

    assert interface.output is Point
    document = interface.encode_output(Point(1, 2), blobs)
    assert interface.decode_output(document, blobs) == Point(1, 2)


def test_annotations_are_read_when_they_are_needed() -> None:
    assert Interface.of(implied).output is Later
    assert Interface.of(implied).parameters[0].annotation == int | None


def test_inputs_are_bound_as_python_binds_them() -> None:
    interface = Interface.of(typed)

    assert interface.bind((1,), {}) == {"a": 1, "b": "x", "points": None}
    assert list(interface.bind((), {"points": [], "a": 1})) == ["a", "b", "points"]


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "typed() missing a required argument: 'a'"),
        ((1, "x", []), {}, "typed() too many positional arguments"),
        ((1,), {"a": 1}, "typed() multiple values for argument 'a'"),
        ((1,), {"c": 1}, "typed() got an unexpected keyword argument 'c'"),
    ],
    ids=str,
)
def test_calls_with_other_inputs_are_refused(
    args: tuple[Any, ...], kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(BindingError) as caught:
        Interface.of(typed).bind(args, kwargs)

    error = caught.value
    assert error.message == message
    assert isinstance(error, RuntimeDataValidationError)
    assert isinstance(error, TypeError)
    assert isinstance(error, ValueError)
    assert error.hint == "its inputs: a, b, points"
    assert error.origin == f"{__file__}:{typed.__code__.co_firstlineno}"


def test_inputs_survive_their_documents(blobs: ValueBlobs) -> None:
    interface = Interface.of(typed)
    values = interface.bind((1,), {"points": [Point(1), Point(2, 3)]})
    document = interface.encode_inputs(values, blobs)

    assert sorted(document) == ["a", "b", "points"]
    assert interface.decode_inputs(document, blobs) == values
    assert interface.size(document) == len(document_bytes(document))


def test_wrong_inputs_name_the_input_and_the_function(blobs: ValueBlobs) -> None:
    interface = Interface.of(typed)
    values = {"a": 1, "b": "x", "points": [Point(1, "y")]}  # type: ignore[arg-type]

    with pytest.raises(RuntimeDataValidationError) as caught:
        interface.encode_inputs(values, blobs)

    assert caught.value.message == (
        "input 'points' of typed[0].y: wanted int, found 'y' (str)"
    )
    assert caught.value.origin == f"{__file__}:{typed.__code__.co_firstlineno}"


def test_wrong_outputs_name_the_function(blobs: ValueBlobs) -> None:
    with pytest.raises(
        RuntimeDataValidationError,
        match=r"^output of typed\['a'\]: wanted int, found 'b' \(str\) \(defined at ",
    ):
        Interface.of(typed).encode_output({"a": "b"}, blobs)
    with pytest.raises(
        RuntimeDataValidationError, match="output of nothing: wanted None"
    ):
        Interface.of(nothing).encode_output(1, blobs)
    assert Interface.of(nothing).encode_output(None, blobs) is None


@pytest.mark.parametrize(
    "document", [{}, {"a": 1}, [1], None, {"a": 1, "b": 2, "c": 3}]
)
def test_documents_of_other_inputs_are_refused(document: Any) -> None:
    with pytest.raises(RuntimeDataValidationError, match="wanted the inputs"):
        Interface.of(typed).decode_inputs(document, None)


def star(*args: int) -> None:
    raise NotImplementedError


def stars(**kwargs: int) -> None:
    raise NotImplementedError


def position(a: int, /) -> None:
    raise NotImplementedError


def unseen(a: Decimal) -> None:
    raise NotImplementedError


def broken(a: int.nope) -> None:  # type: ignore[name-defined]
    raise NotImplementedError


@pytest.mark.parametrize(
    ("func", "message"),
    [
        (star, "star takes *args: 'int', but a task needs its inputs named"),
        (stars, "stars takes **kwargs: 'int', but a task needs its inputs named"),
        (position, "position takes 'a' by position only"),
        (unseen, "the annotations of unseen name 'Decimal', which is not there"),
        (broken, "the annotations of broken can't be evaluated: AttributeError"),
    ],
    ids=("star", "stars", "position", "unseen", "broken"),
)
def test_signatures_that_no_task_can_have_are_refused(
    func: Callable[..., Any], message: str
) -> None:
    interface = Interface.of(func)
    uses: list[Callable[[], Any]] = [
        lambda: interface.parameters,
        lambda: interface.bind((1,), {}),
        interface.describe,
    ]
    for use in uses:
        with pytest.raises(RuntimeDataValidationError) as caught:
            use()

        assert caught.value.message.startswith(message)
        assert caught.value.origin == f"{__file__}:{func.__code__.co_firstlineno}"


def unsupported(call: Callable[[], int]) -> None:
    raise NotImplementedError


def test_types_that_can_t_be_passed_on_name_the_input() -> None:
    with pytest.raises(
        RuntimeDataValidationError,
        match=r"input 'call' of unsupported: values of the annotation Callable\[\[\], int\]",
    ):
        Interface.of(unsupported).describe()


def test_a_wrapped_function_has_the_inputs_of_the_inner_one() -> None:
    @functools.wraps(typed)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return typed(*args, **kwargs)

    interface = Interface.of(wrapper)

    assert [item.name for item in interface.parameters] == ["a", "b", "points"]
    assert interface.output == dict[str, int]
    assert interface.origin == f"{__file__}:{typed.__code__.co_firstlineno}"


def test_descriptions_tell_interfaces_apart() -> None:
    def one(a: int) -> int:
        raise NotImplementedError

    def renamed(a: int) -> int:
        raise NotImplementedError

    def other_input(a: float) -> int:
        raise NotImplementedError

    def other_output(a: int) -> str:
        raise NotImplementedError

    described = Interface.of(one).describe()

    assert described == Interface.of(renamed).describe()
    assert described != Interface.of(other_input).describe()
    assert described != Interface.of(other_output).describe()


def test_files_don_t_count_as_inline(blobs: ValueBlobs, tmp_path: Path) -> None:
    def takes(file: File, data: bytes) -> None:
        raise NotImplementedError

    takes.__annotations__ = {"file": File, "data": bytes, "return": None}
    (tmp_path / "large").write_bytes(b"x" * 100_000)
    interface = Interface.of(takes)
    file = File.from_local(tmp_path / "large")

    small = interface.encode_inputs({"file": file, "data": b""}, blobs)
    large = interface.encode_inputs({"file": file, "data": b"x" * 50_000}, blobs)
    assert interface.size(small) < 100
    assert 50_000 < interface.size(large) < 51_000


def test_an_interface_costs_nothing_before_it_is_read() -> None:
    program = (
        "import sys; from imagekit.interface import Interface\n"
        "Interface.of(lambda a: a)\n"
        "assert not {'inspect', 'typing_extensions', 'decimal'} & set(sys.modules)"
    )

    subprocess.run([sys.executable, "-c", program], check=True)
