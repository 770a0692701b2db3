"""The hybrid builder: an engine for what must execute, once, and none for the rest."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from engine_plans import reach
from image_trees import layer_tar
from machine import debian_base
from machine.engine import Engine
from machine.push import push_layout
from machine.registry import Registry

from imagekit import Image
from imagekit.building import BuildOptions, BuildResult, build_image
from imagekit.errors import (
    BuildFailedError,
    DefinitionError,
    UnsupportedLayerError,
)
from imagekit.oci.layout import Layout
from imagekit.oci.model import Manifest, read_document
from imagekit.plan_report import plan_image
from imagekit.progress import Event, TaskEnded, TaskStarted
from imagekit.settings import Settings, load_settings
from imagekit.testing.files import FileTree, differences, read_entries

pytestmark = [pytest.mark.engine, pytest.mark.index]


@dataclass
class Hub:
    """A registry with the base image, and a store."""

    registry: Registry
    settings: Settings
    events: list[Event] = field(default_factory=list)

    def build(self, image: Image, **options: Any) -> BuildResult:
        self.events.clear()
        return build_image(
            image,
            BuildOptions(platforms=("linux/amd64",), **options),
            settings=self.settings,
            progress=self.events.append,
        )

    def uploads(self) -> list[str]:
        titles = {
            event.task: event.title
            for event in self.events
            if isinstance(event, TaskStarted)
        }
        return [
            titles[event.task]
            for event in self.events
            if isinstance(event, TaskEnded) and event.detail == "uploaded"
        ]


@pytest.fixture
def hub(
    engine: Engine,
    base_layout: Path,
    empty_registry: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Hub:
    reach(monkeypatch, engine)
    registry = empty_registry()
    push_layout(base_layout, registry.address, debian_base.NAME, debian_base.TAG)
    return Hub(registry=registry, settings=settings(registry, tmp_path / "store"))


def settings(registry: Registry, store: Path) -> Settings:
    return load_settings(
        arguments={
            "cache_dir": str(store),
            "registry": registry.address,
            "mirrors": {"docker.io": registry.address},
        },
        environ={},
    )


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "main.py").write_text("print('one')\n")
    return folder


def definition(app: Path) -> Image:
    return (
        Image.from_base(f"docker.io/{debian_base.NAME}:{debian_base.TAG}")
        .clone(name="hybrid")
        .with_env_vars({"GREETING": "a 'b' $c\n2", "PYTHONDONTWRITEBYTECODE": "1"})
        .with_commands(['printf %s "$GREETING" > /greeting', "mkdir /made"])
        .with_pip_packages("idna>=3")
        .with_workdir("/srv/app")
        .with_commands(["python -c 'import idna' ; pwd > /where"])
        .with_source_folder(app, dst="/srv/app")
    )


def test_only_what_must_execute_is_executed_and_only_once(hub: Hub, app: Path) -> None:
    first = hub.build(definition(app))

    assert first.builder == "hybrid"
    assert [step.title for step in first.steps if step.title.startswith("command")]
    (app / "main.py").write_text("print('two')\n")
    second = hub.build(definition(app))

    assert second.steps == ()
    assert second.digest != first.digest
    assert sorted(hub.uploads()) == ["config", "files in /srv/app"]
    old, new = ({layer.digest for layer in found.layers} for found in (first, second))
    assert len(new - old) == 1


def layout_tree(folder: Path) -> FileTree:
    """Return the files of the only image in the OCI layout *folder*."""
    layout = Layout.open(folder)
    manifest = read_document(layout.read(layout.resolve()))
    assert isinstance(manifest, Manifest)
    tree = FileTree()
    for layer in manifest.layers:
        tree.apply(read_entries(layer_tar(layout.blob_path(layer.digest))))
    return tree


def test_another_machine_takes_results_from_the_registry(
    hub: Hub, app: Path, tmp_path: Path
) -> None:
    first = hub.build(definition(app))
    (app / "main.py").write_text("print('three')\n")
    # No engine is needed where nothing is executed.
    other = Hub(
        registry=hub.registry, settings=settings(hub.registry, tmp_path / "elsewhere")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
        second = other.build(definition(app), outputs=(f"oci:{tmp_path / 'out'}",))

    assert second.steps == ()
    assert sorted(other.uploads()) == ["config", "files in /srv/app"]
    tree = layout_tree(tmp_path / "out")
    assert tree.nodes["greeting"].data == b"a 'b' $c\n2"
    assert tree.nodes["where"].data == b"/srv/app\n"
    here = hub.build(definition(app), force=True)
    assert here.digest == second.digest != first.digest


def test_the_files_are_those_of_the_whole_build_on_buildkit(
    hub: Hub, app: Path, tmp_path: Path
) -> None:
    image = (
        definition(app)
        .with_apt_packages("tree")
        .with_pip_packages("idna==3.7")  # replaces what commands have seen
        .with_commands(["python -c 'import idna; print(idna.__version__)' > /version"])
    )
    trees = []
    for builder in ("auto", "buildkit"):
        out = tmp_path / builder
        built = hub.build(
            image, builder=builder, push=False, outputs=(f"oci:{out}",), force=True
        )
        assert built.builder == {"auto": "hybrid"}.get(builder, builder)
        trees.append(layout_tree(out))
    hybrid, whole = trees

    site = "opt/venv/lib/python3.11/site-packages"
    assert hybrid.nodes["version"].data == b"3.7\n"
    assert f"{site}/idna-3.7.dist-info/METADATA" in hybrid.nodes
    assert [
        path for path in hybrid.nodes if path.endswith("METADATA") and "idna-" in path
    ] == [f"{site}/idna-3.7.dist-info/METADATA"]
    assert "usr/bin/tree" in hybrid.nodes
    assert list(differences(whole, hybrid)) == []


def test_bytecode_of_a_replaced_version_is_not_taken_for_the_new_one(
    hub: Hub, app: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    image = (
        definition(app)
        .with_env_vars({"PYTHONDONTWRITEBYTECODE": ""})
        .with_commands(["python -c 'import idna'"])
        .with_pip_packages("idna==3.7")
        .with_commands(["python -c 'import idna; print(idna.__version__)' > /version"])
    )
    hub.build(image, push=False, outputs=(f"oci:{out}",))

    assert layout_tree(out).nodes["version"].data == b"3.7\n"


@pytest.mark.parametrize("builder", ["auto", "buildkit"])
def test_an_emptied_buildkit_gives_the_same_digest(
    hub: Hub,
    engine: Engine,
    app: Path,
    tmp_path: Path,
    builder: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    image = (
        Image.from_base(f"docker.io/{debian_base.NAME}:{debian_base.TAG}")
        .clone(name="again")
        .with_apt_packages("tree")
        .with_pip_packages("idna>=3")
        .with_commands(["python -c 'import idna'; date > /tmp/now; rm /tmp/now"])
        .with_source_folder(app, dst="/srv/app")
    )
    digests = []
    for number in (1, 2):
        engine.docker("builder", "prune", "--all", "--force")
        place = Hub(
            registry=hub.registry,
            settings=settings(hub.registry, tmp_path / f"store-{number}"),
        )
        out = tmp_path / f"out-{number}"
        built = place.build(image, builder=builder, push=False, outputs=(f"oci:{out}",))
        run = [
            step for step in built.steps if step.title.startswith(("apt", "command"))
        ]
        assert len(run) >= 2
        assert not any(step.cached for step in run)
        digests.append(built.digest)

    assert digests[0] == digests[1]


def test_attestations_are_for_whole_images(hub: Hub, app: Path) -> None:
    with pytest.raises(DefinitionError, match=r"--provenance .* as a whole"):
        hub.build(definition(app), provenance="true")


def test_settings_between_commands_belong_to_one_solve(hub: Hub) -> None:
    image = (
        Image.from_base(f"docker.io/{debian_base.NAME}:{debian_base.TAG}")
        .clone(name="between")
        .with_commands(['echo "${A-none}" > /1'])
        .with_env_vars({"A": "x"})
        .with_commands(['echo "$A" > /2'])
    )
    built = hub.build(image)

    assert built.builder == "hybrid"
    bases = [step for step in built.steps if step.title.startswith("base ")]
    assert len(bases) <= 1
    assert [layer.title for layer in built.layers if layer.title.startswith("com")] == [
        "command 'echo \"${A-none}\" > /1'",
        "command 'echo \"$A\" > /2'",
    ]


def test_a_failing_command_names_its_line_and_keeps_what_was_made(
    hub: Hub, app: Path
) -> None:
    image = definition(app).with_commands(["echo so far; exit 7"])
    with pytest.raises(BuildFailedError, match="exit 7") as caught:
        hub.build(image)

    assert f"{__file__}:" in str(caught.value)
    assert "so far" in str(caught.value)
    mended = hub.build(definition(app).with_commands(["true"]))
    assert [step.title for step in mended.steps if step.title.startswith("comm")] == [
        "command 'true'"
    ]


def test_no_cache_runs_everything_anew(hub: Hub) -> None:
    image = (
        Image.from_base(f"docker.io/{debian_base.NAME}:{debian_base.TAG}")
        .clone(name="anew")
        .with_commands(["head -c 16 /dev/urandom > /random"])
    )
    first = hub.build(image)

    assert hub.build(image, force=True).digest == first.digest
    assert hub.build(image, force=True, no_cache=True).digest != first.digest


def test_a_dockerfile_is_built_whole(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text(
        f"FROM {hub.registry.address}/{debian_base.NAME}:{debian_base.TAG} AS one\n"
        "ARG WHO=nobody\nCOPY note /note\nRUN echo $WHO > /who\n"
        "FROM one AS two\nRUN false\n"
    )
    (folder / "note").write_text("first\n")
    (folder / "outside").symlink_to("/etc/hostname")
    image = Image.from_dockerfile(
        folder / "Dockerfile", name="whole", build_args={"WHO": "me $x"}, target="one"
    )
    out = tmp_path / "out"
    built = hub.build(image, outputs=(f"oci:{out}",))

    assert built.builder == "buildkit"
    tree = layout_tree(out)
    assert tree.nodes["who"].data == b"me $x\n"
    assert tree.nodes["note"].data == b"first\n"
    uris = {str(built)}
    (folder / "note").write_text("second\n")
    uris.add(str(hub.build(image)))
    uris.add(
        str(
            hub.build(
                Image.from_dockerfile(folder / "Dockerfile", name="whole", target="one")
            )
        )
    )
    assert len(uris) == 3


def test_the_embedded_builder_refuses_what_must_execute(hub: Hub, app: Path) -> None:
    with pytest.raises(UnsupportedLayerError, match="mkdir /made"):
        hub.build(definition(app), builder="embedded")


def test_plan_says_what_would_be_executed(hub: Hub, app: Path) -> None:
    def planned() -> list[tuple[str, bool]]:
        report = plan_image(
            definition(app),
            BuildOptions(platforms=("linux/amd64",)),
            settings=hub.settings,
        )
        assert report.builder == "hybrid"
        return [
            (item.title, item.descriptor is not None)
            for item in report.layers or ()
            if item.title.startswith("command")
        ]

    assert {known for _, known in planned()} == {False}
    hub.build(definition(app))
    assert {known for _, known in planned()} == {True}
    assert len(planned()) == 3


def test_steps_have_the_host_s_authorities_and_the_image_has_not(
    hub: Hub, tmp_path: Path
) -> None:
    bundle = tmp_path / "company.pem"
    bundle.write_text("the company's\n")
    mine = dataclasses.replace(hub.settings, ca_bundle=str(bundle))
    image = (
        Image.from_base(f"docker.io/{debian_base.NAME}:{debian_base.TAG}")
        .clone(name="authorities")
        .with_commands(['cat "$SSL_CERT_FILE" "$PIP_CERT" > /seen'])
    )
    out = tmp_path / "out"
    dataclasses.replace(hub, settings=mine).build(
        image, push=False, outputs=(f"oci:{out}",)
    )

    tree = layout_tree(out)
    assert tree.nodes["seen"].data == b"the company's\n" * 2
    assert not [path for path in tree.nodes if path.startswith("run/imagekit")]
    assert b"/run/imagekit/ca.crt" not in b"".join(
        path.read_bytes()
        for path in (out / "blobs" / "sha256").iterdir()
        if path.stat().st_size < 1 << 16
    )
