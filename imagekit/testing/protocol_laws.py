"""Laws of the protocol itself: the name, and what is refused."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from imagekit.builder import DockerfileWriter, Forecaster
from imagekit.errors import ImageKitError, UnsupportedLayerError
from imagekit.plan import (
    BaseImage,
    BuildDockerfile,
    CopyTree,
    LayoutSource,
    Plan,
    Step,
)
from imagekit.plugins import installed
from imagekit.sources import Tree
from imagekit.store import Store
from imagekit.testing.bench import Bench
from imagekit.testing.law import NotApplicableError, law
from imagekit.testing.plans import KINDS

#: Audit events (sys.addaudithook) of what a check must not do.
_FAR = tuple(
    """
    os.exec os.fork os.forkpty os.posix_spawn os.spawn os.system socket.connect
    socket.getaddrinfo socket.gethostbyname socket.sendto subprocess.Popen
    """.split()  # noqa: SIM905  (a name a line would be a page)
)
_DISK = tuple(
    """
    open os.chmod os.link os.listdir os.mkdir os.remove os.rename os.rmdir os.scandir
    os.symlink os.truncate os.utime
    """.split()  # noqa: SIM905  (a name a line would be a page)
)


@law("name")
def name(bench: Bench) -> Iterator[str]:
    """The builder has the name under which it is installed, in every instance."""
    store = bench.store()
    found = [bench.factory(bench.context(store)).name for _ in range(2)]
    if found[0] != found[1]:
        yield f"two instances are named {found[0]!r} and {found[1]!r}"
    if not found[0].strip():
        yield f"wanted a name, found {found[0]!r}"
    elif bench.name is not None and found[0] != bench.name:
        yield f"wanted {bench.name!r}, found {found[0]!r}"
    elif bench.name is None and found[0] not in installed():
        yield (
            f"no entry point {found[0]!r} is installed; pass name= to check_builder to "
            "check a builder that is not"
        )


@law("accepts")
def accepts(bench: Bench) -> Iterator[str]:
    """Check refuses nothing that the builder is said to take."""
    builder = bench.factory(bench.context(bench.store()))
    plans = [bench.plans.complete()]
    plans += [bench.plans.of_kind(kind) for kind in _taken(bench)]
    for plan in plans:
        try:
            builder.check(plan)
        except ImageKitError as error:
            yield f"check refused {_kinds(plan)}: {type(error).__name__}: {error}"


@law("refuses")
def refuses(bench: Bench) -> Iterator[str]:
    """What is beyond the builder is refused with UnsupportedLayerError."""
    kinds = [kind for kind in KINDS if kind in bench.refuses]
    if not kinds:
        raise NotApplicableError("the builder takes every kind of step")
    for kind in kinds:
        plan = bench.plans.of_kind(kind)
        builder = bench.factory(bench.context(bench.store()))
        for method in ("check", "build"):
            yield from _refused(getattr(builder, method), method, plan, bench, kind)


def _refused(
    call: Any, method: str, plan: Plan, bench: Bench, kind: type[Step]
) -> Iterator[str]:
    step, word = bench.plans.single(kind)
    place = str(step.origin)
    try:
        call(plan)
    except UnsupportedLayerError as error:
        text = f"{error} {error.origin or ''}"
        for wanted in (word, place):
            if wanted not in text:
                yield (
                    f"{method} refused a {kind.__name__} without {wanted!r}, which "
                    f"says which layer it is: {error}"
                )
    except Exception as error:  # noqa: BLE001  (a builder may raise anything)
        yield (
            f"{method} of a {kind.__name__}: wanted UnsupportedLayerError, found "
            f"{type(error).__name__}: {error}"
        )
    else:
        yield f"{method} took a {kind.__name__}, which the builder can't make"


@law("check-is-cheap")
def check_is_cheap(bench: Bench) -> Iterator[str]:
    """Check touches no disk, network or process."""
    absent = bench.folder / "absent"
    plan = _moved(bench.plans.complete(), absent)
    store = Store(absent / "store")
    builder = bench.factory(bench.context(store))
    before = _listing(absent)
    with _Watch(bench.folder) as watch:
        try:
            builder.check(plan)
        except Exception as error:  # noqa: BLE001  (a builder may raise anything)
            yield (
                "check of a plan whose files are not there: "
                f"{type(error).__name__}: {error}"
            )
    yield from (f"check did {event}" for event in dict.fromkeys(watch.seen))
    if _listing(absent) != before:
        yield "check made files in the store"


@law("forecast")
def forecast(bench: Bench) -> Iterator[str]:
    """What a forecast tells is what a build then does."""
    work = bench.complete
    builder = bench.factory(work.context)
    if not isinstance(builder, Forecaster):
        raise NotApplicableError("the builder is no Forecaster")
    fresh = bench.store()
    other = bench.factory(bench.context(fresh))
    assert isinstance(other, Forecaster)
    before = _listing(fresh.root)
    early = other.forecast(work.plan)
    if _listing(fresh.root) != before:
        yield "forecast changed the store"
    late = builder.forecast(work.plan)
    if [item.title for item in early] != [item.title for item in late]:
        yield "forecast tells of other layers once they are built"
    made = [
        layer.digest
        for image in work.built.images
        for layer in bench.upper(work, image)
    ]
    told = [item.descriptor.digest if item.descriptor else None for item in late]
    if told != made:
        yield f"wanted a forecast of {list(map(str, made))}, found {told!r}"


@law("dockerfile-writer")
def dockerfile_writer(bench: Bench) -> Iterator[str]:
    """A Dockerfile is the same each time, and tells of no host path."""
    builder = bench.factory(bench.context(bench.store()))
    if not isinstance(builder, DockerfileWriter):
        raise NotApplicableError("the builder is no DockerfileWriter")
    plan = bench.plans.complete()
    first, second = builder.dockerfile(plan), builder.dockerfile(plan)
    if first != second:
        yield "two calls of dockerfile() give two texts"
    folder = bench.folder / "context"
    folder.mkdir()
    written = builder.write_context(plan, folder)
    there = folder / "Dockerfile"
    if not there.is_file() or there.read_text(encoding="utf-8") != written:
        yield "write_context() does not write the file 'Dockerfile' that it returns"
    for title, text in (("dockerfile()", first), ("write_context()", written)):
        if str(bench.folder) in text:
            yield f"{title} tells of the host's folder {str(bench.folder)!r}"


def _listing(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def _taken(bench: Bench) -> list[type[Step]]:
    return [kind for kind in KINDS if kind not in bench.refuses]


def _kinds(plan: Plan) -> str:
    names = (type(step).__name__ for part in plan.platforms for step in part.steps)
    return ", ".join(dict.fromkeys(names)) or "a plan without steps"


def _moved(plan: Plan, absent: Path) -> Plan:
    """Return *plan*, with all that it reads in a folder that does not exist."""
    return replace(
        plan,
        platforms=tuple(
            replace(
                part,
                base=_moved_base(part.base, absent),
                steps=tuple(_moved_step(step, absent) for step in part.steps),
            )
            for part in plan.platforms
        ),
    )


def _moved_base(base: BaseImage | None, absent: Path) -> BaseImage | None:
    source = LayoutSource(path=str(absent / "layout"))
    return None if base is None else replace(base, source=source)


def _moved_step(step: Step, absent: Path) -> Step:
    match step:
        case CopyTree():
            return replace(step, tree=_moved_tree(step.tree, absent))
        case BuildDockerfile():
            return replace(step, context=_moved_tree(step.context, absent))
        case _:
            return step


def _moved_tree(tree: Tree, absent: Path) -> Tree:
    return Tree(
        entries=tuple(
            replace(entry, location=str(absent / entry.path)) for entry in tree.entries
        )
    )


class _Watch:
    """Sees what this thread does, as Python's audit events tell it.

    Audit hooks can't be taken away again; ours sleeps unless a watch is on.
    """

    _threads = threading.local()
    _installed = False

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self.seen: list[str] = []

    def __enter__(self) -> Self:
        if not _Watch._installed:
            _Watch._installed = True
            sys.addaudithook(_Watch._hook)
        _Watch._threads.watch = self
        return self

    def __exit__(self, *_exc: object) -> None:
        _Watch._threads.watch = None

    @classmethod
    def _hook(cls, event: str, arguments: tuple[Any, ...]) -> None:
        watch: _Watch | None = getattr(cls._threads, "watch", None)
        if watch is not None:
            watch.note(event, arguments[0] if arguments else None)

    def note(self, event: str, what: object) -> None:
        """Remember *event* if it should not be."""
        near = event in _DISK and str(what).startswith(self._folder)
        if near or event in _FAR:
            self.seen.append(f"{event} {what!r}")
