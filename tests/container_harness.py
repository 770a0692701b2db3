"""What tests of tasks in containers need: an image, an executor, and a small caller."""

from __future__ import annotations

import shutil
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import container_tasks
from machine.engine import Engine

from imagekit import Image
from imagekit.building import BuildOptions, build_image
from imagekit.context import ActionID, TaskContext
from imagekit.oci.docker import Docker
from imagekit.platform import Architecture, Platform
from imagekit.records import replace
from imagekit.run_events import ROOT, Event, Json
from imagekit.running.attempt import Attempt, EncodedCall
from imagekit.running.container.executor import ContainerExecutor
from imagekit.running.container.pools import Pools
from imagekit.running.container.task_image import TaskImage
from imagekit.settings import load_settings
from imagekit.task import TaskTemplate
from imagekit.task_environment import find_task
from imagekit.task_settings import TaskSettings
from imagekit.value_blobs import ValueBlobs

CODE = "/code"


def build_task_image(folder: Path, registry: str) -> str:
    """Build an image with imagekit and this folder's tasks; return its reference."""
    code = folder / "code"
    code.mkdir()
    source = Path(container_tasks.__file__)
    shutil.copy(source, code / "container_tasks.py")
    settings = load_settings(
        arguments={"mirrors": (("docker.io", registry),), "cache_dir": folder / "store"}
    )
    host: Architecture = (
        "linux/amd64" if Platform.host().architecture == "amd64" else "linux/arm64"
    )
    image = Image.from_debian_base(
        (3, 11), name="container-runs", platform=(host,)
    ).with_source_folder(code, CODE)
    return build_image(image, BuildOptions(outputs=("docker",)), settings=settings)


class Records:
    """Keeps all events and logs, and tells when one has come."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.logs: dict[str, bytearray] = defaultdict(bytearray)
        self.size = 0
        self.keep = True
        self.changed = threading.Condition()

    def record(self, event: Event) -> None:
        with self.changed:
            self.events.append(event)
            self.changed.notify_all()

    def log(self, action: str, data: bytes) -> None:
        with self.changed:
            self.size += len(data)
            if self.keep:
                self.logs[action] += data
            self.changed.notify_all()

    def text(self, action: str = ROOT) -> str:
        return self.logs[action].decode()

    def wait_for(self, text: str, action: str = ROOT) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: text in self.text(action), timeout=30)


@dataclass
class Runs:
    """Runs tasks of :mod:`container_tasks` in containers."""

    engine: Engine
    blobs: ValueBlobs
    image: TaskImage
    environ: dict[str, str] = field(default_factory=dict)
    records: Records = field(default_factory=Records)
    placed: list[tuple[str | None, str | None]] = field(default_factory=list)
    pools: Pools = field(default_factory=Pools)
    most: int | None = None

    def __post_init__(self) -> None:
        self.executor = ContainerExecutor(
            images=lambda _: self.image,
            blobs=self.blobs,
            docker=Docker(
                program=self.engine.client, environment=self.engine.environment
            ),
            environ=self.environ,
            max_containers=self.most,
            pools=self.pools,
        )

    async def run(
        self,
        task: TaskTemplate[..., Any],
        *args: Any,
        action: str = ROOT,
        settings: TaskSettings | None = None,
        **changes: Any,
    ) -> Any:
        """Run a task as the controller would, and return what it returns."""
        inputs = task.interface.bind(args, {})
        encoded = task.interface.encode_inputs(inputs, self.blobs)
        chosen = replace(settings or task.settings, **changes)
        output = await self._execute(task, chosen, encoded, action)
        return task.interface.decode_output(output, self.blobs)

    async def call_encoded(self, call: EncodedCall) -> Json:
        task = find_task(call.task)
        assert task is not None
        return await self._execute(task, call.settings, call.inputs, call.action)

    async def call(self, task: Any, inputs: Any, by: Any) -> Any:
        raise AssertionError("nothing is called in this process")

    async def _execute(
        self,
        task: TaskTemplate[..., Any],
        settings: TaskSettings,
        inputs: Json,
        action: str,
    ) -> Json:
        attempt = Attempt(
            task=task,
            settings=settings,
            inputs=inputs,
            context=TaskContext(
                action=ActionID(name=action, run_name="test run"), task_name=task.name
            ),
            caller=self,
            encoded=self,
            recorder=self.records,
        )
        self.executor.check(attempt)

        def placed(image: str | None = None, place: str | None = None) -> None:
            self.placed.append((image, place))

        return await self.executor.execute(attempt, placed)

    def containers(self) -> list[str]:
        """Return the names of the containers that the engine has."""
        names = self.engine.docker(
            "ps", "--all", "--format", "{{.Names}}", "--filter", "label=imagekit.run"
        )
        return names.split()
