"""Runs tasks in containers as users do: in this process, and with the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from engine_plans import reach
from machine.engine import Engine

import imagekit
from imagekit import initialization
from imagekit.records import replace
from imagekit.run import Run, Runner
from imagekit.run_events import AttemptStarted, Event
from imagekit.run_records import RUNS, RunRecords, RunView
from imagekit.running.container.pools import POOLS

HERE = Path(__file__).parent


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for what nothing tells of."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Watch(StringIO):
    """What a person sees of a run while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self.started: list[AttemptStarted] = []

    def write(self, text: str) -> int:
        with self._changed:
            self._changed.notify_all()
            return super().write(text)

    def event(self, event: Event) -> None:
        with self._changed:
            if isinstance(event, AttemptStarted):
                self.started.append(event)
            self._changed.notify_all()

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until *text* was printed that often."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: self.getvalue().count(text) >= times, timeout=60
            ), self.getvalue()


@contextmanager
def imagekit_command(*words: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run the command ``imagekit``, in a session of its own, and kill what is left."""
    process = subprocess.Popen(
        [sys.executable, "-m", "imagekit", *words],
        text=True,
        start_new_session=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@dataclass
class Runs:
    """Runs in containers, whose records are in *folder*."""

    engine: Engine
    folder: Path
    names: list[str] = field(default_factory=list)
    watch: Watch = field(default_factory=Watch)

    def name(self) -> str:
        """Return a name for a run, which is looked after from then on."""
        self.names.append(f"run-{uuid.uuid4().hex[:12]}")
        return self.names[-1]

    def runner(self, **context: Any) -> Runner:
        """Return what runs tasks in containers, watched."""
        context.setdefault("mode", "container")
        found = imagekit.with_runcontext(name=self.name(), **context)
        return replace(found, stream=self.watch, listener=self.watch.event)

    def run(self, task: Any, *args: Any, **context: Any) -> Run:
        """Run a task in a container, and return what became of it."""
        found = self.runner(**context).run(task, *args)
        assert isinstance(found, Run)
        return found

    @contextmanager
    def running(self, task: Any, *args: Any, **context: Any) -> Iterator[Result]:
        """Run a task in another thread."""
        result = Result()
        runner = self.runner(**context)

        def work() -> None:
            try:
                result.value = runner.run(task, *args)
            except BaseException as error:  # noqa: BLE001  (the test looks at it)
                result.error = error

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield result
        finally:
            thread.join(120)
            assert not thread.is_alive()

    def view(self, name: str = "") -> RunView:
        """Return the record of a run, by default of the last one."""
        return RunRecords(self.folder / RUNS).open(name or self.names[-1])

    def containers(self, name: str = "") -> list[str]:
        """Return the names of the containers of a run, by default of the last one."""
        label = f"label=imagekit.run={name or self.names[-1]}"
        form = ("--format", "{{.Names}}", "--filter", label)
        return self.engine.docker("ps", "--all", *form).split()

    def command(
        self, *words: str, **options: Any
    ) -> AbstractContextManager[subprocess.Popen[str]]:
        """Run the command ``imagekit``, in a session of its own."""
        return imagekit_command(*words, **options)

    def task_command(self, *words: str) -> tuple[str, ...]:
        """Return the words that run a task of ``faulty_tasks.py``."""
        file = str(HERE / "faulty_tasks.py")
        return ("run", file, *words, "--mode", "container", "--name", self.name())


@dataclass
class Result:
    """What becomes of a run in another thread."""

    value: Any = None
    error: BaseException | None = None


@contextmanager
def container_runs(
    engine: Engine, registry: str, folder: Path, cache: Path
) -> Iterator[Runs]:
    """Let runs find the engine; check that they leave no container behind."""
    with pytest.MonkeyPatch.context() as patch:
        reach(patch, engine)
        patch.setenv("IMAGEKIT_REGISTRY_MIRRORS", f"docker.io={registry}")
        patch.setenv("IMAGEKIT_RECORD_DIR", str(folder / "records"))
        patch.setenv("IMAGEKIT_CACHE_DIR", str(cache))
        patch.setattr(initialization, "_current", [])
        imagekit.init(root_dir=HERE)
        runs = Runs(engine=engine, folder=folder / "records")
        try:
            yield runs
        finally:
            POOLS.close()
        for name in runs.names:
            assert runs.containers(name) == []
