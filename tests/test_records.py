"""Records are the standard library's dataclasses in all that can be seen of them."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

import imagekit
from imagekit import records
from imagekit.records import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """A record."""

    kind: ClassVar[str] = "ours"

    name: str
    size: int = 3
    tags: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    place: str = field(default="", compare=False)
    password: str = field(default="", repr=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Theirs:
    name: str
    size: int = 3
    tags: tuple[str, ...] = ()
    notes: list[str] = dataclasses.field(default_factory=list)
    place: str = dataclasses.field(default="", compare=False)
    password: str = dataclasses.field(default="", repr=False)


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    left: int
    right: int = 0


@dataclass(slots=True)
class Mutable:
    value: int


@dataclass(frozen=True, slots=True)
class Checked:
    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ValueError("negative")
        object.__setattr__(self, "value", self.value + 1)


ARGUMENTS = st.fixed_dictionaries(
    {"name": st.text()},
    optional={
        "size": st.integers(),
        "tags": st.lists(st.text()).map(tuple),
        "notes": st.lists(st.text()),
        "place": st.text(),
        "password": st.text(),
    },
)


@given(one=ARGUMENTS, other=ARGUMENTS)
def test_equality_text_and_replacement_are_those_of_dataclasses(
    one: dict[str, object], other: dict[str, object]
) -> None:
    ours, theirs = Ours(**one), Theirs(**one)  # type: ignore[arg-type]

    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert (ours == Ours(**other)) is (theirs == Theirs(**other))  # type: ignore[arg-type]
    assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
    assert dataclasses.replace(ours, **other) == Ours(**{**one, **other})  # type: ignore[arg-type]
    assert records.replace(ours, **other) == Ours(**{**one, **other})  # type: ignore[arg-type]
    assert pickle.loads(pickle.dumps(ours)) == ours
    assert copy.deepcopy(ours) == ours


@given(st.tuples(st.integers(), st.integers()), st.tuples(st.integers(), st.integers()))
def test_order_and_hash_are_those_of_the_tuples(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    assert (Pair(*one) < Pair(*other)) is (one < other)
    assert (Pair(*one) <= Pair(*other)) is (one <= other)
    assert (Pair(*one) > Pair(*other)) is (one > other)
    assert (hash(Pair(*one)) == hash(Pair(*other))) or one != other


@pytest.mark.parametrize("instances", [0, 100], ids=["first", "compiled"])
@pytest.mark.parametrize(
    ("positional", "named"),
    [
        ((), {}),
        ((1, 2, 3), {}),
        ((1,), {"left": 2}),
        ((), {"left": 1, "middle": 2}),
        ((), {"right": 1}),
    ],
)
def test_wrong_arguments_are_type_errors_at_any_time(
    positional: tuple[int, ...], named: dict[str, int], instances: int
) -> None:
    @dataclass(frozen=True, slots=True)
    class Fresh:
        left: int
        right: int = 0

    for number in range(instances):
        Fresh(number)

    with pytest.raises(TypeError):
        Fresh(*positional, **named)


@pytest.mark.parametrize("instances", [0, 100], ids=["first", "compiled"])
def test_defaults_are_made_anew_for_each(instances: int) -> None:
    for _ in range(instances):
        Ours(name="a")
    one = Ours(name="a")
    one.notes.append("x")

    assert Ours(name="a").notes == []


def test_frozen_ones_can_not_change_and_others_can() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError, match="size"):
        Ours(name="a").size = 4  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match="size"):
        del Ours(name="a").size
    with pytest.raises(TypeError):
        hash(Mutable(1))
    changed = Mutable(1)
    changed.value = 2

    assert changed == Mutable(2)
    assert not hasattr(changed, "__dict__")


def test_what_is_done_after_init_is_done_once() -> None:
    assert [Checked(number).value for number in range(50)] == list(range(1, 51))
    with pytest.raises(ValueError, match="negative"):
        Checked(-1)


def test_tools_see_fields_parameters_and_patterns() -> None:
    assert [item.name for item in dataclasses.fields(Ours)] == [
        item.name for item in dataclasses.fields(Theirs)
    ]
    ours = inspect.signature(Ours).parameters
    theirs = inspect.signature(Theirs).parameters
    assert [(p.name, p.kind) for p in ours.values()] == [
        (p.name, p.kind) for p in theirs.values()
    ]
    assert list(inspect.signature(Pair).parameters) == ["left", "right"]
    match Pair(1, 2):
        case Pair(left, right):
            assert (left, right) == (1, 2)


def test_instances_that_can_be_called_have_their_own_signature() -> None:
    # That of the class is how it is made.
    assert list(inspect.signature(imagekit.run).parameters) == [
        "task",
        "args",
        "kwargs",
    ]
    assert "runner" in inspect.signature(type(imagekit.run)).parameters


def test_the_standard_module_is_not_imported() -> None:
    program = (
        "import sys; from imagekit import Image, Secret;"
        "Image.from_base('a/b').clone(name='c').with_pip_packages('d').identifier;"
        "Secret('a').stable_hash(); sys.exit('dataclasses' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
