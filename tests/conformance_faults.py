"""Builders with one fault each, and the laws that have to find it.

Each wraps a builder that keeps all laws, and spoils a plan on its way in, or an image
on its way out.
"""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import tarfile
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from imagekit.builder import (
    Builder,
    BuilderContext,
    Built,
    BuiltImage,
    BuiltLayer,
    Forecaster,
    LayerForecast,
)
from imagekit.digest import Digest
from imagekit.errors import BuildFailedError, SourceChangedError, UnsupportedLayerError
from imagekit.oci import model
from imagekit.oci.document import canonical_json
from imagekit.plan import (
    CopyTree,
    CreateVenv,
    InstallDistributions,
    LayerDescriptor,
    LayoutSource,
    Plan,
    RunCommands,
    SetEnv,
    SetWorkdir,
    Step,
)
from imagekit.platform import Platform
from imagekit.secret_values import secret_value
from imagekit.sources import Tree
from imagekit.store import Store

Factory = Callable[[BuilderContext], Builder]
Entries = list[tuple[tarfile.TarInfo, bytes]]
_RUNS = count()


class Wrapper:
    """Passes everything through."""

    def __init__(self, context: BuilderContext, inner: Builder) -> None:
        self.context = context
        self.inner = inner

    @property
    def name(self) -> str:
        return self.inner.name

    def check(self, plan: Plan) -> None:
        self.inner.check(plan)

    def build(self, plan: Plan) -> Built:
        return self.inner.build(plan)


class ForecastingWrapper(Wrapper):
    """Passes forecasts through too; what spoils layers can't, or they would be wrong."""

    def forecast(self, plan: Plan) -> tuple[LayerForecast, ...]:
        assert isinstance(self.inner, Forecaster)
        return self.inner.forecast(plan)


@dataclass(frozen=True)
class Fault:
    """A fault, and all laws that it breaks."""

    name: str
    laws: frozenset[str]
    wrap: Callable[[BuilderContext, Builder], Builder]


FAULTS: list[Fault] = []


def breaks(*laws: str) -> Callable[[type[Wrapper]], type[Wrapper]]:
    """Say which laws a faulty builder breaks."""

    def note(wrapper: type[Wrapper]) -> type[Wrapper]:
        FAULTS.append(Fault(wrapper.__name__, frozenset(laws), wrapper))
        return wrapper

    return note


def spoiled(
    context: BuilderContext,
    plan: Plan,
    built: Built,
    *,
    entries: Callable[[Entries], Entries] | None = None,
    config: Callable[[dict[str, Any]], None] | None = None,
    base: bool = False,
) -> Built:
    """Return *built* with other entries in its layers, or another config."""
    images = []
    for part, image in zip(plan.platforms, built.images, strict=True):
        assert part.base is not None
        assert isinstance(part.base.source, LayoutSource)
        layout = Path(part.base.source.path) / "blobs" / "sha256"
        below = len(part.base.layers)
        layers = []
        for number, layer in enumerate(image.layers):
            if entries is None or (number < below) != base:
                layers.append(layer)
                continue
            path = context.store.blob_path(layer.descriptor.digest)
            blob = (path if path.exists() else layout / path.name).read_bytes()
            layers.append(replace(layer, descriptor=_edited(context, blob, entries)))
        document = json.loads(context.store.read_blob(image.config))
        document["rootfs"]["diff_ids"] = [str(x.descriptor.diff_id) for x in layers]
        if config is not None:
            config(document)
        images.append(joined(context.store, image, layers, document))
    return indexed(context.store, built, images)


def _edited(
    context: BuilderContext, blob: bytes, edit: Callable[[Entries], Entries]
) -> LayerDescriptor:
    found: Entries = []
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob))) as archive:
        for info in archive:
            file = archive.extractfile(info) if info.isfile() else None
            info.pax_headers = {}
            found.append((info, file.read() if file else b""))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in edit(found):
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    tar = buffer.getvalue()
    packed = gzip.compress(tar, 1, mtime=0)
    return LayerDescriptor(
        media_type=model.LAYER_GZIP,
        digest=context.store.add_blob(packed),
        size=len(packed),
        diff_id=Digest.of(tar),
    )


def joined(
    store: Store,
    image: BuiltImage,
    layers: list[BuiltLayer],
    document: dict[str, Any],
) -> BuiltImage:
    content = canonical_json(document)
    manifest = model.manifest(
        model.Descriptor.of(content, model.CONFIG),
        [
            model.Descriptor(
                media_type=layer.descriptor.media_type,
                digest=layer.descriptor.digest,
                size=layer.descriptor.size,
            )
            for layer in layers
        ],
    )
    return replace(
        image,
        manifest=store.add_blob(manifest),
        manifest_size=len(manifest),
        config=store.add_blob(content),
        config_size=len(content),
        layers=tuple(layers),
    )


def indexed(store: Store, built: Built, images: list[BuiltImage]) -> Built:
    if built.index is None:
        return replace(built, digest=images[0].manifest, images=tuple(images))
    content = model.index(
        [
            model.Descriptor(
                media_type=model.MANIFEST,
                digest=image.manifest,
                size=image.manifest_size,
                platform=image.platform,
            )
            for image in images
        ]
    )
    return replace(
        built, digest=store.add_blob(content), index=content, images=tuple(images)
    )


class EntryFault(Wrapper):
    """Spoils the entries of layers; of those of the base if *base*."""

    base = False

    def build(self, plan: Plan) -> Built:
        built = self.inner.build(plan)
        return spoiled(self.context, plan, built, entries=self.edit, base=self.base)

    def edit(self, entries: Entries) -> Entries:
        for info, _ in entries:
            self.touch(info)
        return entries

    def touch(self, info: tarfile.TarInfo) -> None:
        raise NotImplementedError


class ConfigFault(Wrapper):
    """Spoils the config."""

    def build(self, plan: Plan) -> Built:
        return spoiled(self.context, plan, self.inner.build(plan), config=self.edit)

    def edit(self, document: dict[str, Any]) -> None:
        raise NotImplementedError


class StepFault(Wrapper):
    """Builds another step in place of each."""

    def build(self, plan: Plan) -> Built:
        platforms = tuple(
            replace(part, steps=tuple(self.step(step) for step in part.steps))
            for part in plan.platforms
        )
        return self.inner.build(replace(plan, platforms=platforms))

    def step(self, step: Step) -> Step:
        raise NotImplementedError


# The protocol.


@breaks("name")
class WrongName(Wrapper):
    @property
    def name(self) -> str:
        return "other"


@breaks("name")
class ChangingName(Wrapper):
    @property
    def name(self) -> str:
        return f"embedded-{next(_RUNS)}"


@breaks("accepts", "check-is-cheap", "builds", "index")
class RefusesNewlines(Wrapper):
    def check(self, plan: Plan) -> None:
        self.inner.check(plan)
        for step in plan.platforms[0].steps:
            if isinstance(step, SetEnv) and any("\n" in v for _, v in step.variables):
                raise UnsupportedLayerError("a newline", origin=str(step.origin))


@breaks("refuses")
class ChecksNothing(Wrapper):
    def check(self, plan: Plan) -> None:
        pass


@breaks("refuses")
class ChecksFirstPlatformOnly(Wrapper):
    def check(self, plan: Plan) -> None:
        self.inner.check(replace(plan, platforms=plan.platforms[:1]))


@breaks("refuses")
class RefusesWithoutNaming(Wrapper):
    def check(self, plan: Plan) -> None:
        try:
            self.inner.check(plan)
        except UnsupportedLayerError:
            raise UnsupportedLayerError("can't build this") from None


@breaks("refuses")
class RefusesWithAnotherError(Wrapper):
    def check(self, plan: Plan) -> None:
        try:
            self.inner.check(plan)
        except UnsupportedLayerError as error:
            raise ValueError(str(error)) from None


@breaks("refuses")
class LeavesOutWhatItCannotExecute(Wrapper):
    def build(self, plan: Plan) -> Built:
        part = plan.platforms[-1]
        try:
            return self.inner.build(plan)
        except UnsupportedLayerError:
            if part.base is None:
                raise
            bare = replace(part, steps=())
            return self.inner.build(replace(plan, platforms=(bare,)))


@breaks("check-is-cheap")
class ChecksFiles(Wrapper):
    def check(self, plan: Plan) -> None:
        self.inner.check(plan)
        for step in plan.platforms[0].steps:
            if isinstance(step, CopyTree):
                for entry in step.tree.files:
                    Path(entry.location).read_bytes()


@breaks("check-is-cheap")
class ChecksForDocker(Wrapper):
    def check(self, plan: Plan) -> None:
        self.inner.check(plan)
        subprocess.run(["true"], check=True)


@breaks("check-is-cheap")
class ChecksTheStore(Wrapper):
    def check(self, plan: Plan) -> None:
        self.inner.check(plan)
        self.context.store.temporary()


# Documents.


@breaks("builds", "index")
class CannotInstall(Wrapper):
    def build(self, plan: Plan) -> Built:
        for step in plan.platforms[0].steps:
            if isinstance(step, InstallDistributions):
                raise BuildFailedError("can't install")
        return self.inner.build(plan)


@breaks("documents", "built", "index", "side-by-side")
class WrongDiffIds(ConfigFault):
    def edit(self, document: dict[str, Any]) -> None:
        document["rootfs"]["diff_ids"][-1] = str(Digest.of(b"wrong"))


@breaks("documents", "index", "side-by-side")
class WrongHistory(ConfigFault):
    def edit(self, document: dict[str, Any]) -> None:
        if len(document["history"]) > 2:
            document["history"].append({"created_by": "nothing"})


@breaks("built")
class WrongManifestSize(Wrapper):
    def build(self, plan: Plan) -> Built:
        built = self.inner.build(plan)
        image = built.images[0]
        spoilt = replace(image, config_size=image.config_size + 1)
        return replace(built, images=(spoilt, *built.images[1:]))


@breaks(
    *("built", "documents", "side-by-side"),
    # What can't be read can't be right.
    *("created", "entries", "files", "environment-files", "records", "base-links"),
)
class WrongLayerSize(Wrapper):
    def build(self, plan: Plan) -> Built:
        built = self.inner.build(plan)
        if built.index is not None or len(built.images[0].layers) < 4:
            return built
        image = built.images[0]
        last = image.layers[-1]
        longer = replace(last.descriptor, size=last.descriptor.size + 1)
        document = json.loads(self.context.store.read_blob(image.config))
        made = joined(
            self.context.store,
            image,
            [*image.layers[:-1], replace(last, descriptor=longer)],
            document,
        )
        return indexed(self.context.store, built, [made])


@breaks("base-layers")
class PacksTheBaseAnew(EntryFault):
    base = True

    def touch(self, info: tarfile.TarInfo) -> None:
        info.mtime = 1


# Configs.


@breaks("environment")
class ExpandsVariables(StepFault):
    def step(self, step: Step) -> Step:
        if not isinstance(step, SetEnv):
            return step
        return replace(
            step,
            variables=tuple(
                (name, value.replace("$HOME", "/root"))
                for name, value in step.variables
            ),
        )


@breaks("environment")
class DropsEmptyVariables(ConfigFault):
    def edit(self, document: dict[str, Any]) -> None:
        env = document["config"]["Env"]
        document["config"]["Env"] = [item for item in env if item.partition("=")[2]]


@breaks("environment")
class CutsValuesAtNewlines(ConfigFault):
    def edit(self, document: dict[str, Any]) -> None:
        env = document["config"]["Env"]
        document["config"]["Env"] = [item.partition("\n")[0] for item in env]


@breaks("environment")
class ListsVariablesTwice(ConfigFault):
    def edit(self, document: dict[str, Any]) -> None:
        document["config"]["Env"] += document["config"]["Env"][-1:]


@breaks("environment")
class TellsOfItself(ConfigFault):
    def edit(self, document: dict[str, Any]) -> None:
        document["config"]["Env"].append("BUILT_BY=me")


@breaks("workdir")
class LosesWorkdir(ConfigFault):
    def edit(self, document: dict[str, Any]) -> None:
        document["config"].pop("WorkingDir")


@breaks("workdir")
class KeepsTheFirstWorkdir(ConfigFault):
    def edit(self, document: dict[str, Any]) -> None:
        if document["config"]["WorkingDir"].startswith("/srv"):
            document["config"]["WorkingDir"] = "/srv/first"


@breaks("config")
class RunsAsRoot(ConfigFault):
    def edit(self, document: dict[str, Any]) -> None:
        document["config"]["User"] = "root"


@breaks("config")
class LosesLabels(ConfigFault):
    def edit(self, document: dict[str, Any]) -> None:
        document["config"].pop("Labels")


@breaks("config")
class AddsALabel(ConfigFault):
    def edit(self, document: dict[str, Any]) -> None:
        document["config"]["Labels"]["moby.buildkit.cache"] = "1"


@breaks("created")
class CreatedInTheConfigOnly(ConfigFault):
    def edit(self, document: dict[str, Any]) -> None:
        document["created"] = "1970-01-01T00:00:00Z"


@breaks("created")
class KeepsOldTimes(EntryFault):
    def touch(self, info: tarfile.TarInfo) -> None:
        if info.name.endswith("hello.txt"):
            info.mtime = 981_173_106


@breaks("nothing-to-do")
class AlwaysAddsALayer(Wrapper):
    def build(self, plan: Plan) -> Built:
        first = plan.platforms[0]
        if first.steps:
            return self.inner.build(plan)
        step = CopyTree(tree=Tree(entries=()), destination="/srv/marker", label="x")
        marked = replace(first, steps=(step,))
        return self.inner.build(replace(plan, platforms=(marked, *plan.platforms[1:])))


# Files.


@breaks("entries")
class AbsolutePaths(EntryFault):
    def touch(self, info: tarfile.TarInfo) -> None:
        if info.name.startswith("srv"):
            info.name = f"/{info.name}"


@breaks("entries", "files")
class PathsThatLeadOut(EntryFault):
    def touch(self, info: tarfile.TarInfo) -> None:
        if info.name.endswith("/run.sh"):
            info.name = "../../run.sh"


@breaks("entries")
class EntriesTwice(EntryFault):
    def edit(self, entries: Entries) -> Entries:
        return [*entries, *entries[-1:]]


@breaks("entries")
class EntriesInDisorder(EntryFault):
    def edit(self, entries: Entries) -> Entries:
        return entries[::-1]


@breaks("files")
class DropsExecutableBits(EntryFault):
    def touch(self, info: tarfile.TarInfo) -> None:
        if info.isfile() and not info.name.startswith("opt/"):
            info.mode = 0o644


@breaks("files")
class KeepsPrivateModes(EntryFault):
    def touch(self, info: tarfile.TarInfo) -> None:
        if info.name.endswith("private.txt"):
            info.mode = 0o600


@breaks("files", "odd-names", "base-links")
class KeepsOwners(EntryFault):
    def touch(self, info: tarfile.TarInfo) -> None:
        if not info.name.startswith("opt/"):
            info.uid = 1000


@breaks("files")
class LosesAFile(EntryFault):
    def edit(self, entries: Entries) -> Entries:
        return [item for item in entries if not item[0].name.endswith("empty file")]


@breaks("files")
class LosesEmptyFolders(EntryFault):
    def edit(self, entries: Entries) -> Entries:
        return [item for item in entries if not item[0].name.endswith("empty too")]


@breaks("files")
class ChangesBytes(EntryFault):
    def edit(self, entries: Entries) -> Entries:
        return [
            (info, data.replace(b"deep", b"DEEP") if "est" in info.name else data)
            for info, data in entries
        ]


@breaks("files")
class FollowsLinks(EntryFault):
    def edit(self, entries: Entries) -> Entries:
        for info, _ in entries:
            if info.issym() and info.name.endswith("/link"):
                info.type, info.linkname = tarfile.REGTYPE, ""
        return entries


@breaks("files", "entries")
class ComposesNames(EntryFault):
    def touch(self, info: tarfile.TarInfo) -> None:
        info.name = info.name.replace("u\u0308", "\u00fc")


@breaks("files")
class ChangesAFolderOfTheBase(EntryFault):
    def edit(self, entries: Entries) -> Entries:
        if not any(info.name.startswith("root/") for info, _ in entries):
            return entries
        folder = tarfile.TarInfo("root")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        folder.mtime = entries[0][0].mtime
        return [(folder, b""), *entries]


@breaks("files")
class LosesTheSecondCopy(StepFault):
    def step(self, step: Step) -> Step:
        if isinstance(step, CopyTree) and step.label == "later":
            return replace(step, tree=Tree(entries=()))
        return step


@breaks("files", "base-links")
class MakesNoWorkdir(StepFault):
    def step(self, step: Step) -> Step:
        # As an engine's config has it: named, and not made.
        return SetEnv(variables=()) if isinstance(step, SetWorkdir) else step

    def build(self, plan: Plan) -> Built:
        last = [s.path for s in plan.platforms[0].steps if isinstance(s, SetWorkdir)]

        def edit(document: dict[str, Any]) -> None:
            if last:
                document["config"]["WorkingDir"] = last[-1]

        return spoiled(self.context, plan, super().build(plan), config=edit)


# Environments.


@breaks("environment-files")
class NoLaunchers(EntryFault):
    def edit(self, entries: Entries) -> Entries:
        return [item for item in entries if item[0].name != "opt/venv/bin/alpha"]


@breaks("environment-files", "records")
class OtherInterpreterInScripts(EntryFault):
    def edit(self, entries: Entries) -> Entries:
        return [
            (info, data.replace(b"#!/opt/venv/bin/python", b"#!/usr/bin/python3"))
            for info, data in entries
        ]


@breaks("environment-files")
class InstallersLeftovers(EntryFault):
    def edit(self, entries: Entries) -> Entries:
        for number, (info, _) in enumerate(entries):
            if info.name.endswith("dist-info/INSTALLER"):
                extra = tarfile.TarInfo(f"{Path(info.name).parent}/uv_cache.json")
                extra.mtime = info.mtime
                folder = f"{Path(info.name).parent}/"
                later = next(
                    (
                        at
                        for at, (other, _) in enumerate(entries)
                        if at > number and not other.name.startswith(folder)
                    ),
                    len(entries),
                )
                return [*entries[:later], (extra, b""), *entries[later:]]
        return entries


@breaks("environment-files")
class LeavesReplacedVersions(StepFault):
    def step(self, step: Step) -> Step:
        if isinstance(step, InstallDistributions):
            return replace(step, removed=())
        return step


@breaks("environment-files")
class ForgetsWhatWasRequested(EntryFault):
    def edit(self, entries: Entries) -> Entries:
        return [item for item in entries if not item[0].name.endswith("/REQUESTED")]


@breaks("environment-files")
class OtherVersionOfPython(StepFault):
    def step(self, step: Step) -> Step:
        if isinstance(step, CreateVenv):
            python = replace(step.interpreter, full_version="3.99")
            return replace(step, interpreter=python)
        return step


@breaks("records")
class WrongRecordHash(EntryFault):
    def edit(self, entries: Entries) -> Entries:
        return [
            (i, d.replace(b"sha256=", b"sha256=X") if i.name.endswith("RECORD") else d)
            for i, d in entries
        ]


@breaks("records")
class ShortRecord(EntryFault):
    def edit(self, entries: Entries) -> Entries:
        return [
            (i, d[d.index(b"\n") + 1 :] if i.name.endswith("RECORD") else d)
            for i, d in entries
        ]


@breaks("records")
class NamelessInstaller(EntryFault):
    def edit(self, entries: Entries) -> Entries:
        return [(i, b"" if i.name.endswith("INSTALLER") else d) for i, d in entries]


# Links, names, changes.


@breaks("base-links")
class ReplacesLinksOfTheBase(EntryFault):
    def touch(self, info: tarfile.TarInfo) -> None:
        for name in ("bin", "lib"):
            info.name = info.name.replace(f"usr/{name}/", f"{name}/", 1)


@breaks("odd-names")
class ReplacesWhatIsNotUtf8(EntryFault):
    def touch(self, info: tarfile.TarInfo) -> None:
        info.name = info.name.encode("utf-8", "replace").decode()


@breaks("odd-names")
class RefusesOddNamesWithoutNaming(Wrapper):
    def build(self, plan: Plan) -> Built:
        for step in plan.platforms[0].steps:
            if isinstance(step, CopyTree) and step.destination == "/srv/odd":
                raise BuildFailedError("a file has a name that can't be")
        return self.inner.build(plan)


@breaks("changed-source")
class ShipsWhatItFinds(StepFault):
    def step(self, step: Step) -> Step:
        if not isinstance(step, CopyTree):
            return step
        entries = []
        for entry in step.tree.entries:
            if entry.type == "file":
                data = Path(entry.location).read_bytes()
                found = Digest.of(data).hex
                entries.append(replace(entry, size=len(data), sha256=found))
            else:
                entries.append(entry)
        return replace(step, tree=Tree(entries=tuple(entries)))


@breaks("changed-source")
class FailsVaguelyOnChanges(Wrapper):
    def build(self, plan: Plan) -> Built:
        try:
            return self.inner.build(plan)
        except SourceChangedError as error:
            raise BuildFailedError("copying failed") from error


# Repetition.


@breaks("same-again", "side-by-side")
class OtherDigestEachTime(ConfigFault):
    def edit(self, document: dict[str, Any]) -> None:
        document["history"][-1]["comment"] = f"run {next(_RUNS)}"


@breaks("same-again")
class OtherDigestFromAWarmStore(ConfigFault):
    def build(self, plan: Plan) -> Built:
        known = self.context.store.read_record("fault", "known")
        if known is None or threading.current_thread() is not threading.main_thread():
            self.context.store.write_record("fault", "known", 1)
            return self.inner.build(plan)
        return super().build(plan)

    def edit(self, document: dict[str, Any]) -> None:
        document["history"][-1]["comment"] = "cached"


@breaks("index")
class SortsTheIndex(Wrapper):
    def build(self, plan: Plan) -> Built:
        ordered = sorted(plan.platforms, key=lambda part: str(part.platform))
        return self.inner.build(replace(plan, platforms=tuple(ordered)))


@breaks("index")
class NoIndex(Wrapper):
    def build(self, plan: Plan) -> Built:
        built = self.inner.build(plan)
        return replace(built, digest=built.images[0].manifest, index=None)


@breaks("index")
class OnePlatformTwice(Wrapper):
    def build(self, plan: Plan) -> Built:
        built = self.inner.build(plan)
        if len(built.images) == 1:
            return built
        first = built.images[0]
        images = [replace(first, platform=image.platform) for image in built.images]
        return indexed(self.context.store, built, images)


@breaks("index")
class ForgetsFilesOfTheOtherPlatform(Wrapper):
    def build(self, plan: Plan) -> Built:
        host = Platform.host()
        return self.inner.build(
            replace(
                plan,
                platforms=tuple(
                    part
                    if part.platform == host
                    else replace(
                        part,
                        steps=tuple(
                            step
                            for step in part.steps
                            if not (isinstance(step, CopyTree) and step.label == "home")
                        ),
                    )
                    for part in plan.platforms
                ),
            )
        )


@breaks("side-by-side")
class LeavesTemporaryFiles(Wrapper):
    def build(self, plan: Plan) -> Built:
        (self.context.store.temporary() / "leftover").touch()
        return self.inner.build(plan)


@breaks("side-by-side")
class MixesUpBuildsSideBySide(ConfigFault):
    _meeting = threading.Barrier(2)

    def build(self, plan: Plan) -> Built:
        if threading.current_thread() is threading.main_thread():
            return self.inner.build(plan)
        self._meeting.wait(60)
        return super().build(plan)

    def edit(self, document: dict[str, Any]) -> None:
        document["history"][-1]["comment"] = f"run {next(_RUNS)}"


# Forecasts.


@breaks("forecast")
class ForecastsBackwards(ForecastingWrapper):
    def forecast(self, plan: Plan) -> tuple[LayerForecast, ...]:
        return super().forecast(plan)[::-1]


@breaks("forecast")
class ForecastsByBuilding(ForecastingWrapper):
    def forecast(self, plan: Plan) -> tuple[LayerForecast, ...]:
        self.inner.build(plan)
        return super().forecast(plan)


# Execution. These wrap a builder that executes.

EXECUTION_FAULTS: list[Fault] = []


def breaks_execution(*laws: str) -> Callable[[type[Wrapper]], type[Wrapper]]:
    """Say which laws a faulty builder that executes breaks."""

    def note(wrapper: type[Wrapper]) -> type[Wrapper]:
        fault = Fault(wrapper.__name__, frozenset(laws), wrapper)
        EXECUTION_FAULTS.append(fault)
        return wrapper

    return note


class CommandFault(StepFault):
    """Executes other commands."""

    def step(self, step: Step) -> Step:
        if not isinstance(step, RunCommands):
            return step
        return replace(step, commands=tuple(map(self.command, step.commands)))

    def command(self, command: str) -> str:
        raise NotImplementedError


@breaks_execution("commands")
class CommandsWithoutVariables(CommandFault):
    def command(self, command: str) -> str:
        return command if "TOKEN" in command else f"unset HOSTILE_QUOTES; {command}"


@breaks_execution("commands")
class CommandsInTheRoot(CommandFault):
    def command(self, command: str) -> str:
        return f"cd /; {command}"


@breaks_execution("commands")
class CommandsLeaveMountPoints(CommandFault):
    def command(self, command: str) -> str:
        return (
            command
            if "conformance" in command
            else command.replace("pwd >", "touch /etc/leftover; pwd >")
        )


@breaks_execution("commands")
class CommandsBeforeFiles(Wrapper):
    def build(self, plan: Plan) -> Built:
        platforms = tuple(
            replace(
                part,
                steps=tuple(
                    sorted(
                        part.steps,
                        key=lambda s: isinstance(s, CopyTree) and s.label == "files",
                    )
                ),
            )
            for part in plan.platforms
        )
        return self.inner.build(replace(plan, platforms=platforms))


@breaks_execution("commands")
class TellsNothing(Wrapper):
    def build(self, plan: Plan) -> Built:
        return replace(self.inner.build(plan), log="", steps=())


@breaks_execution("commands-again")
class StampsTheClock(EntryFault):
    def build(self, plan: Plan) -> Built:
        if not any(isinstance(s, RunCommands) for s in plan.platforms[0].steps):
            return self.inner.build(plan)
        return super().build(plan)

    def touch(self, info: tarfile.TarInfo) -> None:
        if "srv/again" in info.name:
            info.mtime = time.time_ns() // 1000


class FailureFault(Wrapper):
    """Tells less of a failure."""

    def build(self, plan: Plan) -> Built:
        try:
            return self.inner.build(plan)
        except BuildFailedError as error:
            raise self.told(error) from None

    def told(self, error: BuildFailedError) -> Exception:
        raise NotImplementedError


@breaks_execution("failure")
class FailsWithoutExitCode(FailureFault):
    def told(self, error: BuildFailedError) -> Exception:
        error.exit_code = None
        return error


@breaks_execution("failure")
class FailsWithoutOutput(FailureFault):
    def told(self, error: BuildFailedError) -> Exception:
        error.log_tail = ""
        return error


@breaks_execution("failure")
class FailsWithoutOrigin(FailureFault):
    def told(self, error: BuildFailedError) -> Exception:
        error.origin = None
        return error


@breaks_execution("failure")
class FailsWithoutTheCommand(FailureFault):
    def told(self, error: BuildFailedError) -> Exception:
        return BuildFailedError(
            "process did not complete",
            exit_code=error.exit_code,
            log_tail=error.log_tail,
            origin=error.origin,
        )


@breaks_execution("failure", "failure-with-secret")
class FailsWithAnotherError(FailureFault):
    def told(self, error: BuildFailedError) -> Exception:
        return RuntimeError(str(error))


@breaks_execution("failure", "failure-with-secret")
class IgnoresFailures(CommandFault):
    def command(self, command: str) -> str:
        return f"({command}) || true"


class SecretFault(Wrapper):
    """Does something with the values of secrets."""

    def build(self, plan: Plan) -> Built:
        built = self.inner.build(plan)
        for step in plan.platforms[0].steps:
            if isinstance(step, RunCommands):
                for secret in step.secret_mounts:
                    built = self.leak(built, secret_value(secret))
        return built

    def leak(self, built: Built, value: str) -> Built:
        raise NotImplementedError


@breaks_execution("secrets")
class LogsSecrets(SecretFault):
    def leak(self, built: Built, value: str) -> Built:
        return replace(built, log=f"{built.log}token {value}")


@breaks_execution("secrets")
class KeepsSecretsInTheStore(SecretFault):
    def leak(self, built: Built, value: str) -> Built:
        self.context.store.add_blob(b"xx" + b64encode(value.encode()))
        return built


@breaks_execution("secrets")
class PassesSecretsAsVariables(SecretFault):
    def leak(self, built: Built, value: str) -> Built:
        image = built.images[0]
        store = self.context.store
        document = json.loads(store.read_blob(image.config))
        document["config"]["Env"].append("CONFORMANCE_TOKEN=")
        return indexed(store, built, [joined(store, image, [*image.layers], document)])


@breaks_execution("secrets")
class CopiesSecretsIntoALayer(CommandFault):
    def command(self, command: str) -> str:
        return command.replace(
            "printf %s", 'echo "$CONFORMANCE_TOKEN" > /root/.netrc; printf %s'
        )


@breaks_execution("secrets")
class GivesOtherSecrets(CommandFault):
    def command(self, command: str) -> str:
        return f"CONFORMANCE_TOKEN=x; {command}" if "printf %s" in command else command


@breaks_execution("failure-with-secret")
class TellsSecretsInErrors(Wrapper):
    def build(self, plan: Plan) -> Built:
        try:
            return self.inner.build(plan)
        except BuildFailedError as error:
            for step in plan.platforms[0].steps:
                if isinstance(step, RunCommands) and step.secret_mounts:
                    value = secret_value(step.secret_mounts[0])
                    raise error from OSError(f"docker --secret {value}")
            raise


@breaks_execution("missing-secret")
class MissesSecretsLate(Wrapper):
    def build(self, plan: Plan) -> Built:
        first = plan.platforms[0]
        early = replace(first, steps=first.steps[:1])
        if len(first.steps) > 1 and isinstance(first.steps[0], RunCommands):
            self.inner.build(replace(plan, platforms=(early,)))
        return self.inner.build(plan)


@breaks_execution("missing-secret")
class DoesWithoutSecrets(StepFault):
    def step(self, step: Step) -> Step:
        if isinstance(step, RunCommands) and len(step.secret_mounts) == 1:
            return replace(step, secret_mounts=())
        return step

    def build(self, plan: Plan) -> Built:
        first = plan.platforms[0]
        if [type(s) for s in first.steps] == [RunCommands] * 2:
            first = replace(first, steps=first.steps[1:])
        return super().build(replace(plan, platforms=(first,)))
