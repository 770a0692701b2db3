"""How tests run beside each other, where ``pytest -n`` starts more than one process.

Each process has machines of its own. Starting a cluster takes long and running it takes
most of the machine, so that one process takes all tests that need one, from the
beginning; other tests are handed out by file, those with engines first.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from machine.turns import Turns
from xdist.scheduler import LoadScopeScheduling

#: Fixtures, those first that take longest to make.
_MACHINES = ("cluster", "classic_engine", "engine", "registry")


#: Files whose tests need a cluster.
_OF_CLUSTERS = {
    "test_cluster_api.py",
    "test_cluster_data.py",
    "test_cluster_fan_out.py",
    "test_cluster_faults.py",
    "test_cluster_machine.py",
    "test_cluster_pipeline.py",
    "test_cluster_pool.py",
    "test_cluster_results.py",
    "test_cluster_schemas.py",
    "test_cluster_task_secrets.py",
    "test_deploy_cluster.py",
    "test_remote_runs.py",
}


class _ByMachine(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0].rpartition("/")[2]
        return "cluster" if file in _OF_CLUSTERS else file


_TURNS = pytest.StashKey[str]()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _ByMachine:
    """Hand tests out by what they need."""
    return _ByMachine(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process where all of them take turns."""
    stash = node.config.stash
    if _TURNS not in stash:
        stash[_TURNS] = mkdtemp(prefix="imagekit-turns-")
    node.workerinput["turns"] = stash[_TURNS]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Delete where processes took turns."""
    if (folder := config.stash.get(_TURNS, None)) is not None:
        shutil.rmtree(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    ranks: dict[Path, int] = {}
    for item in items:
        ranks[item.path] = min(ranks.get(item.path, len(_MACHINES)), _rank(item))
    items.sort(key=lambda item: ranks[item.path])


def _rank(item: pytest.Item) -> int:
    needed = getattr(item, "fixturenames", ())
    ranks = (rank for rank, name in enumerate(_MACHINES) if name in needed)
    return min(ranks, default=len(_MACHINES))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Have tests that are marked ``alone`` wait for all others, and those for them."""
    worker = getattr(item.config, "workerinput", None)
    if worker is None:
        return (yield)
    turns = Turns(folder=Path(worker["turns"]))
    alone = item.get_closest_marker("alone") is not None
    with turns.alone() if alone else turns.beside_others():
        return (yield)
