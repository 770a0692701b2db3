"""The BuildKit of a Docker engine, with both image stores, gives what a plan says."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_plans import CREATED, ORIGIN, Recorder, context, debian, plan, reach
from image_trees import environment, only_image, run_settings
from layer_reading import contents, entries
from machine.debian_base import NAME, TAG
from machine.engine import Engine
from small_images import Images

from imagekit.builder import Built, Execution
from imagekit.errors import BuilderUnavailableError, PlanError
from imagekit.ignore import NOTHING
from imagekit.layers import ImageBase
from imagekit.oci import model
from imagekit.oci.config import read_config
from imagekit.oci.layout import Layout
from imagekit.oci.registry import Registries
from imagekit.oci.validate import check_image
from imagekit.plan import (
    BaseImage,
    BuildDockerfile,
    CopyTree,
    CreateVenv,
    LayerDescriptor,
    LayoutSource,
    Plan,
    PlatformPlan,
    RegistrySource,
    RunCommands,
    SetEnv,
    SetWorkdir,
    Step,
)
from imagekit.platform import Platform
from imagekit.progress import TaskEnded, TaskStarted
from imagekit.records import replace
from imagekit.resolve.base import resolve_base
from imagekit.secret import Secret
from imagekit.sources import walk
from imagekit.store import Store
from imagekit_buildkit import BuildKitBuilder
from imagekit_buildkit import platform_build as one_platform

pytestmark = pytest.mark.engine

COMMANDS = RunCommands(
    commands=("mkdir -p /srv/made && echo made > /srv/made/file", "echo two; touch /2"),
    origin=ORIGIN,
)


@pytest.fixture(params=["engine", "classic_engine"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine with the containerd image store, and then one with the classic one."""
    found: Engine = request.getfixturevalue(request.param)
    reach(monkeypatch, found)
    return found


@pytest.fixture
def containerd(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    reach(monkeypatch, engine)
    return engine


@pytest.fixture(scope="module")
def base(base_layout: Path, warm_store: Store) -> BaseImage:
    return debian(base_layout, warm_store)


@pytest.fixture
def steps(tmp_path: Path) -> list[Step]:
    app = tmp_path / "app"
    app.mkdir()
    (app / "main.py").write_text("print('hello')\n")
    return [
        COMMANDS,
        SetEnv(variables=(("GREETING", "a b"),)),
        CopyTree(tree=walk(str(app), NOTHING), destination="/srv/app", label="app"),
        SetWorkdir(path="/srv/app"),
    ]


def test_an_image_is_what_the_plan_says(
    either: Engine, base: BaseImage, steps: list[Step], store: Store
) -> None:
    wanted = plan(base, *steps)

    built = BuildKitBuilder(context(store)).build(wanted)

    image = only_image(built)
    assert built.digest == image.manifest
    assert built.index is None
    below = image.layers[: len(base.layers)]
    assert tuple(layer.descriptor for layer in below) == base.layers
    own = image.layers[len(base.layers) :]
    titles = [layer.title for layer in own]
    assert titles[:2] == [f"command {command!r}" for command in COMMANDS.commands]
    assert "files in /srv/app" in titles
    files = {
        path: content
        for layer in own
        for path, content in contents(store, layer.descriptor).items()
    }
    assert files["srv/made/file"] == b"made\n"
    assert files["srv/app/main.py"] == b"print('hello')\n"
    assert environment(store, image)["GREETING"] == "a b"
    assert run_settings(store, image)["WorkingDir"] == "/srv/app"
    check_config(store, built, base)


def check_config(store: Store, built: Built, base: BaseImage) -> None:
    """Check that the documents are valid, and say nothing of BuildKit."""
    image = only_image(built)
    text = store.read_blob(image.config).decode()
    assert "buildkit" not in text.lower()
    document = json.loads(text)
    assert document["created"] == "2023-11-14T22:13:20Z"
    made = [entry for entry in document["history"] if not entry.get("empty_layer")]
    assert len(made) == len(image.layers)
    assert isinstance(base.source, LayoutSource)
    layout = Layout(Path(base.source.path))

    def open_blob(descriptor: model.Descriptor) -> Path:
        place = layout if layout.has_blob(descriptor.digest) else store
        return place.blob_path(descriptor.digest)

    root = store.read_blob(image.manifest)
    check_image(model.Descriptor.of(root, model.MANIFEST), open_blob)


def test_nothing_is_left_behind(
    either: Engine, base: BaseImage, steps: list[Step], store: Store
) -> None:
    images = either.docker("image", "ls", "--quiet")
    settings = Path(os.environ["DOCKER_CONFIG"])
    before = sorted(settings.rglob("*")) if settings.is_dir() else []

    BuildKitBuilder(context(store)).build(plan(base, *steps))

    assert list(store.temporary().iterdir()) == []
    assert either.docker("image", "ls", "--quiet") == images
    if settings.is_dir():
        assert sorted(settings.rglob("*")) == before


def test_an_emptied_cache_gives_the_same_digest(
    either: Engine, base: BaseImage, steps: list[Step], tmp_path: Path
) -> None:
    wanted = plan(base, *steps)
    first = BuildKitBuilder(context(Store(tmp_path / "first"))).build(wanted)
    either.docker("builder", "prune", "--all", "--force")

    second = BuildKitBuilder(context(Store(tmp_path / "second"))).build(wanted)

    assert not any(step.cached for step in second.steps if "command" in step.title)
    assert second.digest == first.digest


def test_no_file_is_younger_than_the_plan(
    either: Engine, base: BaseImage, store: Store
) -> None:
    command = "mkdir /times && touch /times/now && touch -d @1000000 /times/old"
    wanted = plan(base, RunCommands(commands=(command,)))

    image = only_image(BuildKitBuilder(context(store)).build(wanted))

    found = entries(store, image.layers[-1].descriptor)
    assert found["times/now"].mtime == CREATED
    assert found["times/old"].mtime == 1_000_000
    assert max(entry.mtime for entry in found.values()) == CREATED


def test_what_is_cached_has_the_time_of_the_plan(
    either: Engine, base: BaseImage, steps: list[Step], store: Store
) -> None:
    """BuildKit does not look at time stamps when it takes a copy from its cache."""
    assert base.interpreter is not None
    venv = CreateVenv(interpreter=base.interpreter, prefix="/opt/times")
    wanted = plan(base, venv, *steps[1:])
    for created in (CREATED - 2_000_000, CREATED, CREATED + 2_000_000):
        image = only_image(
            BuildKitBuilder(context(store)).build(replace(wanted, created=created))
        )

        own = image.layers[len(base.layers) :]
        times = {
            path: entry.mtime
            for layer in own
            for path, entry in entries(store, layer.descriptor).items()
            if path.startswith(("opt/times", "srv/app"))
        }
        assert "srv/app/main.py" in times
        assert "opt/times/pyvenv.cfg" in times
        assert set(times.values()) == {created}


def test_links_modes_and_owners_are_kept(
    either: Engine, base: BaseImage, store: Store
) -> None:
    command = (
        "mkdir -m 1777 /kept && cd /kept && echo x > file && ln file hard && "
        "ln -s file soft && chown 12:34 file && chmod 4750 file && mkfifo -m 600 pipe "
        "&& mkdir $(printf '%0120d' 7) && touch \"$(printf '\\303\\244 odd')\" "
        "&& rm -r /usr/share/doc"
    )

    image = only_image(
        BuildKitBuilder(context(store)).build(
            plan(base, RunCommands(commands=(command,)))
        )
    )

    found = entries(store, image.layers[-1].descriptor)
    assert found["kept"].mode == 0o1777
    first, second = sorted(
        (found["kept/file"], found["kept/hard"]), key=lambda item: item.islnk()
    )
    assert first.mode == 0o4750
    assert (first.uid, first.gid) == (12, 34)
    assert second.linkname == first.name
    assert found["kept/soft"].linkname == "file"
    assert found["kept/pipe"].isfifo()
    assert "kept/" + "7".rjust(120, "0") in found
    assert "kept/ä odd" in found
    assert "usr/share/.wh.doc" in found


def test_steps_tell_what_ran_and_what_was_kept(
    either: Engine, base: BaseImage, store: Store
) -> None:
    commands = (f"echo one {store.root}; sleep 0.2", "echo two")
    wanted = plan(base, RunCommands(commands=commands, origin=ORIGIN))
    builder = BuildKitBuilder(context(store))

    first = builder.build(wanted)
    second = builder.build(wanted)

    titles = [f"command {command!r}" for command in commands]
    ran = [step for step in first.steps if step.title in titles]
    assert [step.title for step in ran] == titles
    assert not any(step.cached for step in ran)
    assert 0.2 <= ran[0].seconds < 30
    assert f"one {store.root}\n" in first.log
    assert first.log.index("one ") < first.log.index("two\n")
    kept = [step for step in second.steps if step.title in titles]
    assert [(step.cached, step.seconds) for step in kept] == [(True, 0.0)] * 2
    assert second.digest == first.digest
    assert all(layer.reused for layer in only_image(second).layers)


def test_progress_begins_and_ends_every_task(
    containerd: Engine, base: BaseImage, steps: list[Step], store: Store
) -> None:
    recorder = Recorder()

    BuildKitBuilder(context(store, progress=recorder)).build(plan(base, *steps))

    started = {
        event.task: event.title
        for event in recorder.events
        if isinstance(event, TaskStarted)
    }
    ended = [event.task for event in recorder.events if isinstance(event, TaskEnded)]
    assert sorted(started) == sorted(ended)
    assert f"command {COMMANDS.commands[0]!r}" in started.values()
    assert not any("sha256:" in title for title in started.values())


def test_steps_run_again_without_the_cache(
    containerd: Engine, base: BaseImage, store: Store
) -> None:
    wanted = plan(base, RunCommands(commands=("echo again",)))
    BuildKitBuilder(context(store)).build(wanted)

    built = BuildKitBuilder(context(store, Execution(no_cache=True))).build(wanted)

    assert "again\n" in built.log


def test_caches_are_exported_and_imported(
    containerd: Engine,
    base: BaseImage,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = plan(base, RunCommands(commands=(f"echo {tmp_path} > /cached",)))
    exports = Execution(cache_to=("type=local,dest=kept,mode=max",))
    first = BuildKitBuilder(context(store, exports)).build(wanted)
    containerd.docker("builder", "prune", "--all", "--force")
    imports = Execution(cache_from=("type=local,src=kept",))

    second = BuildKitBuilder(context(store, imports)).build(wanted)

    assert second.digest == first.digest
    assert all(step.cached for step in second.steps if "command" in step.title)


def test_secrets_are_in_the_folder_of_the_settings(
    containerd: Engine, base: BaseImage, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "team_key").write_text("the value")
    step = RunCommands(
        commands=('test "$TEAM_KEY" = "the value"',),
        secret_mounts=(Secret("key", group="team"),),
    )

    with pytest.raises(PlanError, match="'TEAM_KEY'"):
        BuildKitBuilder(context(store)).build(plan(base, step))
    given = Execution(secrets_dir=str(tmp_path))
    assert BuildKitBuilder(context(store, given)).build(plan(base, step)).images


@pytest.mark.parametrize(("network", "alone"), [("none", True), ("host", False)])
def test_the_network_is_the_one_that_is_asked_for(
    containerd: Engine, base: BaseImage, store: Store, network: str, alone: bool
) -> None:
    command = "echo interfaces: $(ls /sys/class/net) end"
    execution = Execution(network=network, no_cache=True)

    built = BuildKitBuilder(context(store, execution)).build(
        plan(base, RunCommands(commands=(command,)))
    )

    assert ("interfaces: lo end" in built.log) is alone


def test_proxies_are_given_to_steps_and_kept_nowhere(
    containerd: Engine, base: BaseImage, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "FTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://me:pass-of-proxy@proxy.invalid:3128")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
    command = 'echo "http=$HTTP_PROXY https=$HTTPS_PROXY end"'

    built = BuildKitBuilder(context(store, Execution(no_cache=True))).build(
        plan(base, RunCommands(commands=(command,)))
    )

    assert "http=http://me:***@proxy.invalid:3128 https= end\n" in built.log
    config = store.read_blob(only_image(built).config)
    assert b"proxy.invalid" not in config


def test_several_platforms_become_an_index(
    containerd: Engine, store: Store, tmp_path: Path
) -> None:
    images = Images()
    platforms = (Platform("linux", "amd64"), Platform("linux", "arm64"))
    roots = [images.image({"a": b"a"}, platform=item) for item in platforms]
    layout = images.layout(tmp_path / "layout", images.index(*roots))
    parts = []
    for item, root in zip(platforms, roots, strict=True):
        view = model.read_manifest(images.blobs[root.digest])
        config = images.blobs[view.config.digest]
        base = BaseImage(
            name="two",
            platform=item,
            manifest=root.digest,
            config=config,
            layers=described(view, config),
            source=LayoutSource(path=str(layout.root)),
        )
        own = (SetEnv(variables=(("FOR", str(item)),)),)
        parts.append(PlatformPlan(platform=item, base=base, steps=own))
    wanted = Plan(
        identifier="two",
        content_id="ik1-two",
        platforms=tuple(parts),
        created=CREATED,
    )

    built = BuildKitBuilder(context(store)).build(wanted)

    assert built.index is not None
    listed = model.read_index(built.index).manifests
    assert [entry.platform for entry in listed] == list(platforms)
    assert [entry.digest for entry in listed] == [
        image.manifest for image in built.images
    ]
    assert [environment(store, image)["FOR"] for image in built.images] == [
        str(item) for item in platforms
    ]


def described(view: model.Manifest, config: bytes) -> tuple[LayerDescriptor, ...]:
    return tuple(
        LayerDescriptor(
            media_type=layer.media_type,
            digest=layer.digest,
            size=layer.size,
            diff_id=diff_id,
        )
        for layer, diff_id in zip(
            view.layers, read_config(config).diff_ids, strict=True
        )
    )


@pytest.fixture
def in_registry(registry: str, store: Store) -> Iterator[tuple[BaseImage, Registries]]:
    """The base in a registry, by its own name."""
    with Registries() as registries:
        found = resolve_base(
            ImageBase(reference=f"{registry}/{NAME}:{TAG}"),
            Platform.host(),
            registries=registries,
            store=store,
            need_python=False,
        )
        assert isinstance(found.source, RegistrySource)
        yield found, registries


def test_a_base_in_a_registry_on_this_machine_goes_through_the_store(
    either: Engine, in_registry: tuple[BaseImage, Registries], store: Store
) -> None:
    base, _ = in_registry

    image = only_image(BuildKitBuilder(context(store)).build(plan(base, COMMANDS)))

    assert tuple(layer.descriptor for layer in image.layers[:1]) == base.layers
    assert all(store.has_blob(layer.digest) for layer in base.layers)
    annotations = dict(model.read_manifest(store.read_blob(image.manifest)).annotations)
    assert annotations["org.opencontainers.image.base.name"] == base.name
    assert annotations["org.opencontainers.image.base.digest"] == str(base.manifest)


def test_a_base_that_the_engine_pulls_gives_the_same_image(
    containerd: Engine,
    in_registry: tuple[BaseImage, Registries],
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base, _ = in_registry
    wanted = plan(base, COMMANDS)
    through = BuildKitBuilder(context(store)).build(wanted)
    other = Store(tmp_path / "other")
    # No registry can be had here that is not on this machine.
    monkeypatch.setattr(one_platform, "is_pulled", lambda *_: True)

    pulled = BuildKitBuilder(context(other)).build(wanted)

    assert pulled.digest == through.digest
    assert not any(other.has_blob(layer.digest) for layer in base.layers)


def test_provenance_speaks_of_the_image(
    containerd: Engine, base: BaseImage, store: Store
) -> None:
    execution = Execution(provenance="mode=min")

    built = BuildKitBuilder(context(store, execution)).build(plan(base, COMMANDS))

    assert built.index is not None
    image, attestation = model.read_index(built.index).manifests
    assert image.digest == only_image(built).manifest
    named = dict(attestation.annotations)
    assert named["vnd.docker.reference.digest"] == str(image.digest)
    view = model.read_manifest(store.read_blob(attestation.digest))
    (layer,) = view.layers
    statement = json.loads(store.read_blob(layer.digest))
    assert statement["subject"][0]["digest"] == {"sha256": image.digest.hex}
    assert "provenance" in statement["predicateType"]


def test_the_classic_store_attests_nothing_and_says_so(
    classic_engine: Engine,
    base: BaseImage,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reach(monkeypatch, classic_engine)
    builder = BuildKitBuilder(context(store, Execution(sbom="true")))

    with pytest.raises(BuilderUnavailableError, match="classic image store"):
        builder.build(plan(base, COMMANDS))


def test_a_dockerfile_of_the_users(
    either: Engine, store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "file").write_text("from the context\n")
    text = (
        "FROM scratch AS other\nCOPY file /other\n"
        "FROM scratch\nARG WORD=default\nCOPY file /file\n"
        "COPY --from=other /other /copied\nENV WORD=$WORD\nWORKDIR /srv\n"
        'CMD ["run"]\n'
    )
    (folder / "Dockerfile").write_text(text)
    step = BuildDockerfile(
        file="Dockerfile",
        text=text,
        context=walk(str(folder), NOTHING),
        build_args=(("WORD", "two words"),),
    )
    platform = PlatformPlan(platform=Platform.host(), base=None, steps=(step,))
    wanted = Plan(
        identifier="own", content_id="ik1-own", platforms=(platform,), created=CREATED
    )

    image = only_image(BuildKitBuilder(context(store)).build(wanted))

    assert environment(store, image)["WORD"] == "two words"
    settings = run_settings(store, image)
    assert settings["Cmd"] == ["run"]
    assert settings["WorkingDir"] == "/srv"
    history = json.loads(store.read_blob(image.config))["history"]
    assert not any("ARG" in str(entry.get("created_by")) for entry in history)
    assert contents(store, image.layers[0].descriptor) == {
        "file": b"from the context\n"
    }
    assert [layer.title for layer in image.layers] == [
        "COPY file /file",
        "COPY --from=other /other /copied",
        "WORKDIR /srv",
    ]


def test_a_folder_with_any_name_can_hold_the_store(
    containerd: Engine, base: BaseImage, tmp_path: Path
) -> None:
    store = Store(tmp_path / "a:b,c @d=\"e'")

    built = BuildKitBuilder(context(store)).build(plan(base, COMMANDS))

    assert store.has_blob(built.digest)


def test_the_printed_dockerfile_is_the_one_that_is_built(
    base: BaseImage, steps: list[Step], store: Store, tmp_path: Path
) -> None:
    builder = BuildKitBuilder(context(store))
    wanted = plan(base, *steps)

    text = builder.write_context(wanted, tmp_path / "context")

    assert (tmp_path / "context" / "Dockerfile").read_text() == text
    assert "RUN" in builder.dockerfile(wanted)
    assert sorted(store.root.rglob("*")) == []
