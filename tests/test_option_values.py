"""Values of inputs from texts of the command line."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from argparse import ArgumentTypeError
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    TypedDict,
)

import numpy as np
import numpy.typing as npt
import pandas as pd  # type: ignore[import-untyped]  # it has no types
import pydantic
import pytest

from imagekit.cli.option_values import read
from imagekit.cli.task_options import add_inputs, inputs_of, reader
from imagekit.cli.usage import Parser
from imagekit.interface import Interface
from imagekit.io import File


class Colour(enum.Enum):
    RED = "r"
    BLUE = 2


@dataclass
class Item:
    size: int
    day: dt.date | None = None
    colours: list[Colour] = field(default_factory=list)


class Pair(NamedTuple):
    x: int
    y: dt.date


class Options(TypedDict):
    fast: bool
    until: NotRequired[dt.date]


class Model(pydantic.BaseModel):
    n: int
    day: dt.date = dt.date(2020, 1, 1)


UserId = NewType("UserId", int)
DAY = dt.date(2021, 2, 3)


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (int, "3", 3),
        (float, "3", 3.0),
        (str, "--x", "--x"),
        (bytes, "ab", b"ab"),
        (complex, "1+2j", 1 + 2j),
        (Decimal, "2.50", Decimal("2.50")),
        (uuid.UUID, "0" * 31 + "1", uuid.UUID(int=1)),
        (dt.date, "2021-02-03", DAY),
        (dt.timedelta, "90", dt.timedelta(seconds=90)),
        (dt.timedelta, "1h30m", dt.timedelta(minutes=90)),
        (dt.timedelta, "2d", dt.timedelta(days=2)),
        (Path, "a/b", Path("a/b")),
        (UserId, "3", 3),
        (Annotated[int, "counted"], "3", 3),
        (bool | None, "True", True),
        (int | None, "", None),
        (int | None, "4", 4),
        (str | int, "4", 4),
        (int | str, "x", "x"),
        (File | str, "no such file", "no such file"),
        (Literal["a", 1], "1", 1),
        (Colour, "RED", Colour.RED),
        (Colour, "r", Colour.RED),
        (Colour, "2", Colour.BLUE),
        (tuple[int, str], '[1, "a"]', (1, "a")),
        (tuple[int, ...], "[1, 2]", (1, 2)),
        (set[int], "[1, 1]", {1}),
        (frozenset[str], '["a"]', frozenset({"a"})),
        (list, '[1, "a"]', [1, "a"]),
        (Sequence[int], "[1]", [1]),
        (Iterable[Decimal], "[1.10]", [Decimal("1.1")]),
        (dict, '{"a": 1}', {"a": 1}),
        (Mapping[str, int], '{"a": 1}', {"a": 1}),
        (dict[int, dt.date], '{"1": "2021-02-03"}', {1: DAY}),
        (dict[tuple[int, int], str], '[[[1, 2], "x"]]', {(1, 2): "x"}),
        (dict[str, int | str], '{"a": 1, "b": "1"}', {"a": 1, "b": "1"}),
        (list[Item | int], '[{"size": 1}, 2]', [Item(1), 2]),
        (
            dict[str, Item],
            '{"k": {"size": 1, "day": "2021-02-03", "colours": ["RED", 2]}}',
            {"k": Item(1, DAY, [Colour.RED, Colour.BLUE])},
        ),
        (Pair, '[1, "2021-02-03"]', Pair(1, DAY)),
        (Pair, '{"x": 1, "y": "2021-02-03"}', Pair(1, DAY)),
        (
            Options,
            '{"fast": true, "until": "2021-02-03"}',
            {"fast": True, "until": DAY},
        ),
        (list[Model], '[{"n": 1, "day": "2021-02-03"}]', [Model(n=1, day=DAY)]),
        (Any, "[1]", [1]),
        (Any, "plain text", "plain text"),
    ],
)
def test_a_text_stands_for_a_value(annotation: Any, text: str, value: Any) -> None:
    found = read(annotation, text)

    assert found == value
    assert type(found) is type(value)


def test_arrays_and_frames_are_made_of_lists() -> None:
    floats = read(npt.NDArray[np.float32], "[[1, 2]]")

    assert floats.dtype == np.float32
    assert floats.tolist() == [[1.0, 2.0]]
    assert read(np.ndarray, "[1]").tolist() == [1]
    frame = read(pd.DataFrame, '[{"x": 1}, {"x": 2}]')
    assert frame["x"].tolist() == [1, 2]


def test_files_are_those_of_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a")

    (found,) = read(list[File], f'["{path}"]')

    assert found == File.from_local(path)


@pytest.mark.parametrize(
    ("annotation", "text", "match"),
    [
        (int, "x", "wanted int, found 'x'"),
        (Decimal, "x", "it is no number"),
        (dt.timedelta, "5q", "write seconds, or 1h30m"),
        (bool | None, "maybe", "neither true nor false"),
        (Colour, "GREEN", "none of RED, BLUE"),
        (list[Colour], "[3]", "none of RED, BLUE"),
        (Literal["a", 1], "b", "none of a, 1"),
        (tuple[int, str], "[1]", "2 items are wanted, 1 found"),
        (tuple[int, str], "x", "no JSON: Expecting value at character 1"),
        (Pair, "[1, 2, 3]", "2 items are wanted, 3 found"),
        (Item, '{"length": 1}', "no 'length' in Item, which has size, day, colours"),
        (Item, "{}", "missing 1 required"),
        (File, "no such file", "found no file at"),
    ],
)
def test_a_text_that_stands_for_nothing(annotation: Any, text: str, match: str) -> None:
    with pytest.raises(ArgumentTypeError, match=match):
        reader(annotation)(text)


def test_options_have_names_of_their_own() -> None:
    def task(
        mode: str,
        from_: str,
        _x: int,
        task: str,
        self: int,
        cache: bool = True,
        no_cache: bool = False,
        no_limit: bool = False,
        limit: bool = False,
    ) -> None: ...

    parser = Parser(prog="run", description=None, epilog=None)
    parser.add_argument("task")
    parser.add_argument("--mode")
    add_inputs(parser, Interface.of(task))

    words = ["t", "--input-mode", "m", "--from", "f", "--x", "1", "--task", "u"]
    found = parser.parse_args(
        [*words, "--self", "2", "--no-cache", "--input-no-cache", "--limit", "true"]
    )

    assert found.task == "t"
    assert inputs_of(found) == {
        "mode": "m",
        "from_": "f",
        "_x": 1,
        "task": "u",
        "self": 2,
        "cache": False,
        "no_cache": True,
        "limit": True,
    }
