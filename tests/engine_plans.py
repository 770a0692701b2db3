"""Plans with steps that need an engine, and what builders of them need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from machine.engine import Engine
from machine.remote_buildkit import RemoteBuildKit
from wheel_maker import distribution, make_wheel

from imagekit.builder import BuilderContext, Execution
from imagekit.ignore import NOTHING
from imagekit.layers import LayoutBase
from imagekit.oci.registry import Registries
from imagekit.origin import Origin, SourcePath
from imagekit.plan import (
    BaseImage,
    CopyTree,
    CreateVenv,
    Distribution,
    InstallDistributions,
    Plan,
    PlatformPlan,
    SetEnv,
    SetWorkdir,
    Step,
)
from imagekit.platform import Platform
from imagekit.progress import Event, Progress, silent
from imagekit.resolve.base import resolve_base
from imagekit.resolve.download import Wheels
from imagekit.sources import walk
from imagekit.store import Store

CREATED = 1_700_000_000
WORKDIR = "/srv/app folder"
VARIABLES = (
    ("GREETING", "a 'b' \"c\" $HOME \\ # \u00e9\n2"),
    ("PLAIN", "1"),
)
ORIGIN = Origin("image.py", 7, "/")
LOCAL = Execution()


def debian(layout: Path, store: Store) -> BaseImage:
    """Return the base in *layout* for this machine."""
    with Registries() as registries:
        return resolve_base(
            LayoutBase(path=SourcePath(name="base", location=str(layout))),
            Platform.host(),
            registries=registries,
            store=store,
            need_python=True,
        )


def plan(
    base: BaseImage,
    *steps: Step,
    name: str = "plan",
    installer: Distribution | None = None,
) -> Plan:
    """Return a plan of *steps* on *base*."""
    platform = PlatformPlan(
        platform=base.platform, base=base, steps=steps, installer=installer
    )
    return Plan(
        identifier=name,
        content_id=f"ik1-{name}",
        platforms=(platform,),
        created=CREATED,
    )


def context(
    store: Store, execution: Execution = LOCAL, *, progress: Progress = silent
) -> BuilderContext:
    """Return what a builder may use."""
    return BuilderContext(
        store=store,
        registries=Registries(),
        wheels=Wheels(store),
        progress=progress,
        execution=execution,
    )


def remotely(remote: RemoteBuildKit) -> Execution:
    """Return how *remote* is reached."""
    if remote.tls is None:
        return Execution(remote=remote.endpoint)
    return Execution(
        remote=remote.endpoint,
        remote_ca=str(remote.tls.ca),
        remote_cert=str(remote.tls.client.cert),
        remote_key=str(remote.tls.client.key),
    )


def wheel(store: Store, folder: Path, name: str) -> Distribution:
    """Put a wheel with a module, data and a script into *store*."""
    points = f"[console_scripts]\n{name}-tool = {name}:main\n"
    made = make_wheel(
        folder,
        {
            f"{name}/__init__.py": b"def main():\n    print('it runs')\n",
            f"{name}/data file.txt": b"data\n",
            f"{name}-1.0.dist-info/entry_points.txt": points.encode(),
        },
        name=name,
    )
    found = distribution(made, requested=True)
    place = store.wheel_path(found.sha256, found.filename)
    place.parent.mkdir(parents=True, exist_ok=True)
    made.rename(place)
    return found


def assembled_steps(base: BaseImage, store: Store, folder: Path) -> list[Step]:
    """Return one step of every kind that executes nothing."""
    app = folder / "app"
    (app / "empty").mkdir(parents=True)
    (app / "main.py").write_text("print('hello')\n")
    (app / "it's $HOME #1.txt").write_text("odd name\n")
    (app / "run.sh").write_text("#!/bin/sh\necho run\n")
    (app / "run.sh").chmod(0o755)
    (app / "link").symlink_to("main.py")
    assert base.interpreter is not None
    return [
        CreateVenv(interpreter=base.interpreter),
        SetEnv(variables=VARIABLES),
        InstallDistributions(
            interpreter=base.interpreter,
            distributions=(wheel(store, folder / "wheels", "remotely"),),
            origin=ORIGIN,
        ),
        SetWorkdir(path=WORKDIR),
        CopyTree(tree=walk(str(app), NOTHING), destination="/srv/app", label="app"),
    ]


def reach(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    """Let builders find the docker command, its plugins and the engine."""
    for name in ("PATH", "DOCKER_HOST", "DOCKER_CONFIG"):
        if name in engine.environment:
            monkeypatch.setenv(name, engine.environment[name])


def reach_client_only(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    """Let builders find the docker command and its plugins, and no engine."""
    reach(monkeypatch, engine)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")


@dataclass
class Recorder:
    """Keeps all events, and acts when the first comes that *when* wants."""

    when: Callable[[Event], bool] = lambda _: False
    act: Callable[[], None] = lambda: None
    events: list[Event] = field(default_factory=list)
    acted: bool = False

    def __call__(self, event: Event, /) -> None:
        self.events.append(event)
        if not self.acted and self.when(event):
            self.acted = True
            self.act()
