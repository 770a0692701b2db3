"""The hybrid builder: an engine for what must execute, and none for anything else.

A plan is cut at its executing steps. Each run of them is executed once, on top of an
OCI layout of what comes before it, and becomes layers that are known by their own
content id from then on, in the store and in the registry. All the rest is assembled.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

from imagekit.blobs import Blobs
from imagekit.builder import (
    Builder,
    BuilderContext,
    Built,
    ExecutedStep,
    Forecaster,
    Intermediate,
    LayerForecast,
)
from imagekit.delivery import root_of
from imagekit.errors import BuildFailedError, UnsupportedLayerError
from imagekit.executed import ExecutedResults, Steps, given
from imagekit.executed_key import executed_key
from imagekit.oci.layout import write_layout
from imagekit.plan import (
    BaseImage,
    BuildDockerfile,
    InstallAptPackages,
    LayoutSource,
    Plan,
    PlatformPlan,
    RunCommands,
    SetEnv,
    Step,
)
from imagekit.records import replace


def _executes(step: Step) -> bool:
    return isinstance(step, InstallAptPackages | RunCommands | BuildDockerfile)


class HybridBuilder:
    """Has one builder execute what must be, and another assemble the rest.

    Args:
        context: what both of them were made with.
        assembler: takes plans without executing steps.
        executor: gives the one that takes plans with nothing else. It is only asked
            for where something is executed.
    """

    def __init__(
        self,
        context: BuilderContext,
        *,
        assembler: Builder,
        executor: Callable[[], Builder],
    ) -> None:
        self._context = context
        self._assembler = assembler
        self._load = executor
        self._results = ExecutedResults(context)
        self._steps: list[ExecutedStep] = []
        self._logs: list[str] = []

    @property
    def name(self) -> str:
        """``hybrid``."""
        return "hybrid"

    def check(self, plan: Plan) -> None:
        """Raise UnsupportedLayerError if either builder can't do its part."""
        _check_parts(plan)
        self._assembler.check(_only(plan, executing=False))
        self._executor.check(_only(plan, executing=True))

    @cached_property
    def _executor(self) -> Builder:
        return self._load()

    def build(self, plan: Plan) -> Built:
        """Execute what nobody has executed yet, and assemble the image."""
        _check_parts(plan)
        self._assembler.check(_only(plan, executing=False))
        for platform in plan.platforms:
            for part in self._unknown(plan, platform):
                own = replace(platform, steps=part)
                self._executor.check(replace(plan, platforms=(own,)))
        platforms, kept = [], []
        for platform in plan.platforms:
            steps, images = self._replaced(plan, platform)
            platforms.append(replace(platform, steps=steps))
            kept += images
        built = self._assembler.build(replace(plan, platforms=tuple(platforms)))
        return replace(
            built,
            steps=tuple(self._steps),
            log="".join(self._logs),
            intermediates=tuple(kept),
        )

    def forecast(self, plan: Plan) -> tuple[LayerForecast, ...]:
        """Return the layers above the bases; executed ones have no size before."""
        found: list[LayerForecast] = []
        for platform in plan.platforms:
            steps: list[Step] = []
            missing: list[LayerForecast] = []
            for part, executing in _runs(platform.steps):
                if not executing:
                    steps += part
                    continue
                known = self._results.known(_key(plan, platform, steps, part), part)
                if known is not None:
                    steps += known
                else:
                    missing += _forecasts(platform, part)
                    steps += [step for step in part if isinstance(step, SetEnv)]
            rest = replace(platform, steps=tuple(steps))
            if isinstance(self._assembler, Forecaster):
                found += self._assembler.forecast(replace(plan, platforms=(rest,)))
            found += missing
        return tuple(found)

    def _unknown(self, plan: Plan, platform: PlatformPlan) -> Iterator[Steps]:
        """Yield what the store has no result of, before any of it is executed."""
        steps: list[Step] = []
        for part, executing in _runs(platform.steps):
            if not executing:
                steps += part
                continue
            key = _key(plan, platform, steps, part)
            if self._results.known(key, part) is None:
                yield part
            steps += given(part, key, (), (), reused=False)

    def _replaced(
        self, plan: Plan, platform: PlatformPlan
    ) -> tuple[Steps, list[Intermediate]]:
        """Return the steps with layers in place of what executes."""
        steps: list[Step] = []
        kept: list[Intermediate] = []
        for part, executing in _runs(platform.steps):
            if not executing:
                steps += part
                continue
            key = _key(plan, platform, steps, part)
            known = self._results.known(key, part) or self._results.offered(key, part)
            steps += known or self._executed(plan, platform, tuple(steps), part, key)
            if self._context.cache is not None and not self._results.is_kept(key):
                image = self._prefix(plan, platform, tuple(steps), key).images[0]
                kept.append(Intermediate(tag=key, image=image))
        return tuple(steps), kept

    def _executed(
        self, plan: Plan, platform: PlatformPlan, before: Steps, part: Steps, key: str
    ) -> Steps:
        """Execute *part* on top of *before*, and keep what it became."""
        assert platform.base is not None
        with self._below(plan, platform, before) as base:
            own = PlatformPlan(platform=platform.platform, base=base, steps=part)
            built = self._executor.build(
                replace(plan, content_id=key, platforms=(own,))
            )
        self._steps += built.steps
        self._logs.append(built.log)
        made = built.images[0].layers
        under = [layer.descriptor.diff_id for layer in made[: len(base.layers)]]
        if under != [layer.diff_id for layer in base.layers]:
            raise BuildFailedError(
                f"the builder {self._executor.name!r} replaced layers of the image "
                "that it was given",
                hint="report this to whoever makes the builder",
            )
        new = made[len(base.layers) :]
        layers = tuple(layer.descriptor for layer in new)
        titles = tuple(layer.title for layer in new)
        self._results.keep(key, layers, titles)
        return given(part, key, layers, titles, reused=False)

    @contextmanager
    def _below(
        self, plan: Plan, platform: PlatformPlan, before: Steps
    ) -> Iterator[BaseImage]:
        """Give what is below an executing step, as a base."""
        assert platform.base is not None
        if not before:
            yield platform.base
            return
        built = self._prefix(plan, platform, before, plan.content_id)
        blobs = Blobs(replace(plan, platforms=(platform,)), built, self._context)
        folder = tempfile.mkdtemp(dir=self._context.store.temporary(), prefix="below-")
        try:
            write_layout(folder, root_of(built), blobs.content)
            image = built.images[0]
            yield replace(
                platform.base,
                manifest=image.manifest,
                config=self._context.store.read_blob(image.config),
                layers=tuple(layer.descriptor for layer in image.layers),
                source=LayoutSource(path=folder),
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _prefix(
        self, plan: Plan, platform: PlatformPlan, steps: Steps, content_id: str
    ) -> Built:
        own = replace(platform, steps=steps)
        return self._assembler.build(
            replace(plan, content_id=content_id, platforms=(own,))
        )


def _check_parts(plan: Plan) -> None:
    """Raise UnsupportedLayerError if *plan* can't be cut."""
    for platform in plan.platforms:
        for step in platform.steps:
            if isinstance(step, BuildDockerfile):
                raise UnsupportedLayerError(
                    f"the Dockerfile {step.file!r} is built as a whole",
                    hint="build it with --builder buildkit or remote",
                    origin=str(step.origin) if step.origin else None,
                )


def _runs(steps: Steps) -> Iterator[tuple[Steps, bool]]:
    """Yield *steps* in runs, and whether a run executes.

    Settings between two executing steps belong to their run: one solve does it all.
    """
    places = [index for index, step in enumerate(steps) if _executes(step)]
    at = 0
    while places:
        first = last = places.pop(0)
        while places and all(
            isinstance(step, SetEnv) for step in steps[last + 1 : places[0]]
        ):
            last = places.pop(0)
        yield steps[at:first], False
        yield steps[first : last + 1], True
        at = last + 1
    yield steps[at:], False


def _key(
    plan: Plan, platform: PlatformPlan, before: Sequence[Step], part: Steps
) -> str:
    assert platform.base is not None
    return executed_key(platform.base, before, part, plan.created)


def _only(plan: Plan, *, executing: bool) -> Plan:
    """Return the plan with nothing but what executes, or without it."""
    platforms = tuple(
        replace(
            platform,
            steps=tuple(
                step for step in platform.steps if _executes(step) is executing
            ),
        )
        for platform in plan.platforms
    )
    return replace(plan, platforms=platforms)


def _forecasts(platform: PlatformPlan, part: Steps) -> list[LayerForecast]:
    found = []
    for step in part:
        match step:
            case InstallAptPackages():
                titles = [f"apt packages {', '.join(step.packages)}"]
            case RunCommands():
                titles = [f"command {command!r}" for command in step.commands]
            case _:
                titles = []
        found += [
            LayerForecast(
                platform=platform.platform, title=title, size=0, descriptor=None
            )
            for title in titles
        ]
    return found
