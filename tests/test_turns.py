"""Tests that run alone, and those that run beside each other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from machine.turns import Turns

SOON, LATE = 0.2, 10


class Turn:
    """A turn that somebody else asks for, and has until it is ended."""

    def __init__(
        self, pool: ThreadPoolExecutor, turn: AbstractContextManager[None]
    ) -> None:
        self._begun, self._wanted_back = threading.Event(), threading.Event()
        self._done: Future[None] = pool.submit(self._take, turn)

    def _take(self, turn: AbstractContextManager[None]) -> None:
        with turn:
            self._begun.set()
            assert self._wanted_back.wait(LATE)

    def begins(self, *, within: float = LATE) -> bool:
        return self._begun.wait(within)

    def may_end(self) -> None:
        self._wanted_back.set()

    def end(self) -> None:
        self.may_end()
        self._done.result(LATE)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as found:
        yield found


def test_those_that_need_not_be_alone_go_beside_each_other(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    turns = Turns(folder=tmp_path)
    first = Turn(pool, turns.beside_others())
    second = Turn(pool, turns.beside_others())

    assert first.begins()
    assert second.begins()
    first.end()
    second.end()


def test_nobody_is_beside_one_that_is_alone(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    turns = Turns(folder=tmp_path)
    alone = Turn(pool, turns.alone())
    assert alone.begins()
    other = Turn(pool, turns.beside_others())
    too = Turn(pool, turns.alone())

    assert not other.begins(within=SOON)
    assert not too.begins(within=SOON)
    for turn in (alone, other, too):
        turn.may_end()
    for turn in (other, too):
        turn.end()


def test_nobody_slips_in_before_one_that_waits_to_be_alone(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    turns = Turns(folder=tmp_path)
    first = Turn(pool, turns.beside_others())
    assert first.begins()
    alone = Turn(pool, turns.alone())
    assert not alone.begins(within=SOON)
    late = Turn(pool, turns.beside_others())

    assert not late.begins(within=SOON)
    first.end()
    assert alone.begins()
    assert not late.begins(within=SOON)
    alone.end()
    assert late.begins()
    late.end()
