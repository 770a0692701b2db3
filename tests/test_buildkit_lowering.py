"""What a plan is for BuildKit: the Dockerfile, its files, and what they build."""

from __future__ import annotations

import os
import re
import stat
import textwrap
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from layer_reading import tar_bytes
from machine.engine import Engine
from recipe_builds import (
    CREATED,
    File,
    NoWheels,
    bare,
    docker_build,
    flattened,
    host_base,
    plan_of,
    read_image,
    recipe_of,
    solve,
)
from wheel_maker import PYTHON, distribution, make_wheel

from imagekit import sources
from imagekit.builder import BuilderContext
from imagekit.errors import (
    BuildFailedError,
    SourceChangedError,
    SourceEscapesError,
    UnsupportedLayerError,
)
from imagekit.ignore import NOTHING
from imagekit.layers import InstallOptions, PipPackages
from imagekit.oci.registry import Registries
from imagekit.origin import Origin
from imagekit.plan import (
    AddLayers,
    BaseImage,
    BuildDockerfile,
    CopyTree,
    CreateVenv,
    Distribution,
    InstallAptPackages,
    InstallDistributions,
    LayoutSource,
    RunCommands,
    SetEnv,
    SetWorkdir,
    Step,
)
from imagekit.progress import silent
from imagekit.resolve.download import Wheels
from imagekit.resolve.installer import installer
from imagekit.resolve.python import resolve
from imagekit.resolve.target import target_of
from imagekit.secret import Secret
from imagekit.sources import Entry, Tree
from imagekit.store import Store
from imagekit_buildkit.certificates import CA_PATH, CA_VARIABLES
from imagekit_buildkit.context import dockerfile_name, write_context
from imagekit_buildkit.install_order import installs
from imagekit_buildkit.recipe import (
    CA_SECRET,
    LinkEntry,
    Recipe,
    TextEntry,
    TreeEntry,
    WheelEntry,
)
from imagekit_oci import OCIBuilder

ORIGIN = Origin(file="images.py", line=7, folder="/")
FROM = f"FROM docker.io/library/python@sha256:{'1' * 64} AS base\n"
UV = Distribution(
    name="uv", version="0.9", filename="uv-0.9-py3-none-any.whl", sha256="2" * 64
)


def wheel(name: str, version: str = "1.0", **more: object) -> Distribution:
    filename = f"{name}-{version}-py3-none-any.whl"
    digest = sha256(filename.encode()).hexdigest()
    made = Distribution(name=name, version=version, filename=filename, sha256=digest)
    return replace(made, **more)  # type: ignore[arg-type]


def install(
    *items: Distribution, removed: tuple[str, ...] = ()
) -> InstallDistributions:
    return InstallDistributions(
        interpreter=PYTHON, distributions=items, removed=removed, origin=ORIGIN
    )


def image_of(recipe: Recipe) -> str:
    """Return the Dockerfile's last stage, without its FROM."""
    return re.split(r"^FROM .*\n", recipe.dockerfile, flags=re.MULTILINE)[-1]


def tree_of(**files: str) -> Tree:
    entries = [
        Entry(path=path, type="file", size=len(text), sha256=digest_of(text))
        for path, text in sorted(files.items())
    ]
    return Tree(entries=tuple(entries))


def digest_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()


class TestText:
    def test_the_base_is_named_by_digest(self) -> None:
        recipe = recipe_of(bare(), SetEnv(variables=(("A", "1"),)))

        assert recipe.dockerfile == (
            f"# An image for linux/amd64, written by imagekit.\n\n{FROM}ENV A=1\n"
        )
        assert recipe.entries == ()
        assert recipe.created == CREATED

    def test_a_base_in_a_layout_is_a_named_context(self) -> None:
        base = replace(bare(), source=LayoutSource(path="/home/me/layout"))

        recipe = recipe_of(base, SetEnv(variables=(("A", "1"),)))

        assert "\nFROM base\nENV A=1\n" in recipe.dockerfile
        assert "/home/me" not in recipe.dockerfile

    def test_variables_are_set_where_something_sees_them(self) -> None:
        recipe = recipe_of(
            bare({"Env": ["PATH=/bin", "SAME=1"]}),
            SetEnv(variables=(("A", "x y"), ("SAME", "1"))),
            SetEnv(variables=(("B", "$A"),)),
            CopyTree(tree=tree_of(a=""), destination="/x", label="x"),
            SetEnv(variables=(("A", "new"),)),
            RunCommands(commands=("true",)),
            SetEnv(variables=(("A", "new"),)),
            SetEnv(variables=(("C", "1"),)),
        )

        assert re.findall(r"ENV (?:.*\\\n)*.*", image_of(recipe)) == [
            'ENV A=new \\\n    B="\\$A"',
            "ENV C=1",
        ]

    def test_line_breaks_are_build_arguments(self) -> None:
        recipe = recipe_of(bare(), SetEnv(variables=(("A", "1\n2"), ("B", "3"))))

        assert recipe.build_args == (("A", "1\n2"),)
        assert image_of(recipe) == (
            'ENV B=3\nARG A\nENV A="${A:?needs --build-arg A=...}"\n'
        )
        assert "# It needs --build-arg A=...\n" in recipe.dockerfile

    def test_one_working_directory_and_user_are_left(self) -> None:
        recipe = recipe_of(
            bare({"User": "app user"}),
            SetWorkdir(path="/root"),
            SetWorkdir(path="/root"),
            RunCommands(commands=("true",)),
            SetWorkdir(path="/srv/a b"),
        )

        assert image_of(recipe).splitlines()[:2] == ["USER 0", "WORKDIR /root"]
        assert image_of(recipe).splitlines()[-2:] == [
            'WORKDIR "/srv/a b"',
            'USER "app user"',
        ]

    def test_a_user_that_runs_nothing_stays(self) -> None:
        recipe = recipe_of(bare({"User": "app"}), SetEnv(variables=(("A", "1"),)))

        assert "USER" not in recipe.dockerfile

    def test_files_are_linked_where_the_plan_made_the_folder(self) -> None:
        tree = Tree(
            entries=(Entry(path="sub", type="directory"), *tree_of(a="").entries)
        )
        recipe = recipe_of(
            bare(),
            CopyTree(tree=tree, destination="/home/me", label="/home/me/secret"),
            SetWorkdir(path="/app"),
            CopyTree(tree=tree, destination="/app", label="x"),
            CopyTree(tree=tree, destination="/app/sub", label="x"),
            SetWorkdir(path="/data/app"),
            CopyTree(tree=tree, destination="/data/app", label="x"),
            CopyTree(tree=tree, destination="/tmp", label="x"),
        )

        assert [line for line in image_of(recipe).splitlines() if "COPY" in line] == [
            "COPY source-1/ /home/me/",
            "COPY --link source-2/ /app/",
            "COPY --link source-3/ /app/sub/",
            "COPY source-4/ /data/app/",
            "COPY source-5/ /tmp/",
        ]

    def test_files_go_around_links_of_the_base(self) -> None:
        tree = Tree(
            entries=(
                Entry(path="lib", type="directory"),
                Entry(path="lib/a", type="file", sha256="0" * 64),
            )
        )
        base = bare(links=(("/lib", "usr/lib"),))

        recipe = recipe_of(base, CopyTree(tree=tree, destination="/", label="x"))

        (entry,) = recipe.entries
        assert isinstance(entry, TreeEntry)
        paths = [item.path for item in entry.tree.entries]
        assert paths == ["usr", "usr/lib", "usr/lib/a"]
        assert image_of(recipe) == "COPY source-1/ /\n"

    def test_no_file_takes_the_place_of_a_link(self) -> None:
        base = bare(links=(("/lib", "usr/lib"),))
        step = CopyTree(tree=tree_of(lib=""), destination="/", label="x", origin=ORIGIN)
        with pytest.raises(BuildFailedError, match="is a symbolic link of the base"):
            recipe_of(base, step)

    def test_commands_get_their_secrets(self) -> None:
        both = Secret("token", group="g", mount="/root/.netrc", as_env_var="TOKEN")
        recipe = recipe_of(
            bare(),
            RunCommands(
                commands=("make", "make test"),
                secret_mounts=(both, Secret("KEY")),
                origin=ORIGIN,
            ),
        )

        ids = [both.stable_hash()[:16], Secret("KEY").stable_hash()[:16]]
        assert [use.id for use in recipe.secrets] == ids
        assert recipe.secrets[0].origin == ORIGIN
        assert recipe.downloads
        for command in ("make", "make test"):
            assert (
                f"RUN --mount=type=secret,id={CA_SECRET},target={CA_PATH},mode=0444 \\\n"
                f"    --mount=type=secret,id={ids[0]},required=true,"
                "target=/root/.netrc,env=TOKEN \\\n"
                f"    --mount=type=secret,id={ids[1]},required=true,env=KEY \\\n"
                f"    {command}\n"
            ) in recipe.dockerfile
        assert f"# It needs --secret id={ids[0]} (G_TOKEN).\n" in recipe.dockerfile

    def test_another_shell_of_the_base_is_not_used(self) -> None:
        base = bare({"Shell": ["/bin/bash", "-euc"]})

        recipe = recipe_of(base, RunCommands(commands=("make",)))

        assert '    ["/bin/sh", "-c", "make"]\n' in recipe.dockerfile

    def test_packages_are_installed_as_data(self) -> None:
        step = InstallAptPackages(packages=("curl=7*", "g++"), origin=ORIGIN)
        recipe = recipe_of(bare(), step)

        command = "apt-get install --yes --no-install-recommends -- 'curl=7*' g++"
        (found,) = [item for item in recipe.instructions if item.command]
        assert (found.command, found.origin) == (command, ORIGIN)
        assert found.title == "apt packages curl=7*, g++"
        assert "ENV DEBIAN_FRONTEND" not in recipe.dockerfile
        assert recipe.dockerfile.count("sharing=locked") == 2

    def test_instructions_know_their_lines(self) -> None:
        for standalone in (False, True):
            recipe = recipe_of(
                bare({"User": "app"}),
                *every_step(),
                installer=UV,
                standalone=standalone,
            )
            lines = recipe.dockerfile.split("\n")
            known = [lines[item.line - 1].split()[0] for item in recipe.instructions]
            assert set(known) == {
                *("ARG", "COPY", "ENV", "FROM", "RUN", "USER", "WORKDIR"),
            }
            numbers = [item.line for item in recipe.instructions]
            assert numbers == sorted(numbers)

    def test_a_dockerfile_is_left_alone(self) -> None:
        step = BuildDockerfile(
            file="Dockerfile",
            text="# syntax=docker/dockerfile:1\nFROM x\n",
            context=tree_of(a="1"),
            build_args=(("A", "$B\n"),),
            target="web",
        )
        recipe = recipe_of(bare(), step)

        assert recipe.dockerfile == step.text
        assert recipe.entries == (TreeEntry(path="", tree=step.context),)
        assert (recipe.build_args, recipe.target) == (step.build_args, "web")
        assert recipe.base is None

    def test_what_can_not_be_said_is_refused(self) -> None:
        layers = AddLayers(layers=(), titles=(), key="x", origin=ORIGIN)
        for step, message in (
            (layers, "AddLayers"),
            (install(wheel("a")), "which uv installs"),
        ):
            with pytest.raises(UnsupportedLayerError, match=message) as caught:
                recipe_of(bare(), step)
            assert caught.value.origin == "images.py:7"
        with pytest.raises(UnsupportedLayerError, match="ONBUILD"):
            recipe_of(bare({"OnBuild": ["RUN id"]}))


def every_step() -> tuple[Step, ...]:
    return (
        CreateVenv(interpreter=PYTHON, origin=ORIGIN),
        SetEnv(variables=(("A", "\n"), ("B", "2")), origin=ORIGIN),
        SetWorkdir(path="/root", origin=ORIGIN),
        InstallAptPackages(packages=("less",), origin=ORIGIN),
        install(wheel("a", requested=True), wheel("b")),
        RunCommands(commands=("make", "one\ntwo\n"), origin=ORIGIN),
        install(wheel("a", "2.0"), removed=("b",)),
        CopyTree(tree=tree_of(a="1"), destination="/root", label="x", origin=ORIGIN),
    )


class TestPython:
    def test_wheels_are_files_of_the_context(self) -> None:
        recipe = recipe_of(bare(), *every_step(), installer=UV)

        wheels = [item.path for item in recipe.entries if isinstance(item, WheelEntry)]
        assert wheels == [
            "wheels/1/a-1.0-py3-none-any.whl",
            "wheels/1/b-1.0-py3-none-any.whl",
            "wheels/2/a-2.0-py3-none-any.whl",
            f"wheels/uv/{UV.filename}",
        ]
        texts = {
            item.path: item.content.decode()
            for item in recipe.entries
            if isinstance(item, TextEntry)
        }
        assert texts["wheels/1/requirements.txt"] == (
            f"a==1.0 --hash=sha256:{wheel('a').sha256}\n"
            f"b==1.0 --hash=sha256:{wheel('b').sha256}\n"
        )
        assert LinkEntry(path="venv/bin/python", target=PYTHON.path) in recipe.entries
        assert "ADD" not in recipe.dockerfile
        assert "uv pip uninstall --python /opt/venv/bin/python" in recipe.dockerfile
        assert "progress a b\n" in recipe.dockerfile

    def test_what_is_replaced_leaves_no_trace(self) -> None:
        steps = (
            install(wheel("a"), wheel("b"), wheel("c")),
            install(wheel("a", "2.0"), removed=("b",)),
            RunCommands(commands=("true",)),
            install(wheel("c", "2.0")),
            SetWorkdir(path="/x"),
            install(wheel("c", "3.0"), removed=("a",)),
        )
        found = installs(steps)

        assert {
            index: (
                [f"{d.name} {d.version}" for d in item.distributions],
                item.replaced,
            )
            for index, item in found.items()
        } == {
            0: (["c 1.0"], ()),
            1: (["a 2.0"], ()),
            3: ([], ("c",)),
            5: (["c 3.0"], ("a",)),
        }

    def test_published_wheels_are_fetched_where_there_is_no_context(self) -> None:
        url = "https://user:word@index.example/a-1.0+l.whl#sha256=0"
        steps = (
            CreateVenv(interpreter=PYTHON),
            install(wheel("a", url=url), wheel("b"), wheel("c", url="file:///c.whl")),
        )
        recipe = recipe_of(bare(), *steps, installer=UV, standalone=True)

        assert (
            f"ADD --link --checksum=sha256:{wheel('a').sha256} "
            "https://index.example/a-1.0+l.whl /wheels/1/a-1.0-py3-none-any.whl\n"
        ) in recipe.dockerfile
        assert [
            item.path for item in recipe.entries if isinstance(item, WheelEntry)
        ] == [
            "wheels/1/b-1.0-py3-none-any.whl",
            "wheels/1/c-1.0-py3-none-any.whl",
            f"wheels/uv/{UV.filename}",
        ]
        assert len(recipe.entries) == 3
        assert "word" not in recipe.dockerfile

    def test_no_stage_has_more_layers_than_engines_stack(self) -> None:
        many = [wheel(f"d{n}", url=f"https://x.example/{n}.whl") for n in range(250)]
        steps = (CreateVenv(interpreter=PYTHON), install(*many))
        recipe = recipe_of(
            bare(),
            *steps,
            installer=replace(UV, url="https://x.example/uv.whl"),
            standalone=True,
        )

        stages = re.split(r"^FROM ", recipe.dockerfile, flags=re.MULTILINE)
        counts = [len(re.findall("^(?:ADD|COPY)", s, re.MULTILINE)) for s in stages]
        assert max(counts) <= 110
        assert recipe.dockerfile.count("ADD --link") == 251
        assert recipe.entries == ()

    def test_settings_of_the_base_do_not_reach_uv(self) -> None:
        base = bare({"Env": ["PATH=/bin", "UV_INDEX=x", "UV_COMPILE_BYTECODE=1"]})
        recipe = recipe_of(base, *every_step(), installer=UV)

        calls = re.findall(r"^(.*)/scripts/uv pip", recipe.dockerfile, re.MULTILINE)
        assert len(calls) == 3
        assert all(
            c.startswith("env -u UV_INDEX -u UV_COMPILE_BYTECODE ") for c in calls
        )


class TestContext:
    @pytest.fixture
    def files(self, tmp_path: Path) -> Path:
        folder = tmp_path / "files"
        (folder / "empty").mkdir(parents=True, mode=0o700)
        (folder / "a[1]*.py").write_text("1")
        (folder / "run").write_text("2")
        (folder / "run").chmod(0o700)
        (folder / "link").symlink_to("run")
        return folder

    def test_modes_and_times_are_of_the_recipe(
        self, files: Path, tmp_path: Path
    ) -> None:
        tree = sources.walk(str(files), NOTHING)
        recipe = recipe_of(bare(), CopyTree(tree=tree, destination="/x", label="x"))
        old = os.umask(0o077)
        try:
            write_context(recipe, tmp_path / "context", NoWheels())
        finally:
            os.umask(old)

        found = {
            str(path.relative_to(tmp_path / "context")): path.lstat()
            for path in (tmp_path / "context").rglob("*")
        }
        modes = {path: oct(stat.S_IMODE(s.st_mode)) for path, s in found.items()}
        assert modes == {
            "Dockerfile": "0o644",
            "source-1": "0o755",
            "source-1/a[1]*.py": "0o644",
            "source-1/empty": "0o755",
            "source-1/link": "0o777",
            "source-1/run": "0o755",
        }
        assert {s.st_mtime for s in found.values()} == {CREATED}
        assert os.readlink(tmp_path / "context/source-1/link") == "run"
        assert (files / "run").stat().st_mode & 0o777 == 0o700

    def test_a_changed_file_is_noticed(self, files: Path, tmp_path: Path) -> None:
        tree = sources.walk(str(files), NOTHING)
        recipe = recipe_of(bare(), CopyTree(tree=tree, destination="/x", label="x"))
        (files / "run").write_text("3")
        with pytest.raises(SourceChangedError, match="run"):
            write_context(recipe, tmp_path / "context", NoWheels())
        (files / "run").unlink()
        with pytest.raises(SourceChangedError, match="run"):
            write_context(recipe, tmp_path / "another", NoWheels())

    @pytest.mark.parametrize(
        "paths",
        [("../a",), ("/a",), ("a/../../b",), ("a//b",), ("",), ("l", "l/b")],
    )
    def test_nothing_is_written_elsewhere(
        self, paths: tuple[str, ...], files: Path, tmp_path: Path
    ) -> None:
        entries = [
            Entry(path=path, type="symlink", target=str(files))
            if path == "l"
            else Entry(
                path=path, type="file", sha256=digest_of(""), location="/dev/null"
            )
            for path in paths
        ]
        recipe = recipe_of(bare())
        recipe = replace(
            recipe, entries=(TreeEntry(path="t", tree=Tree(entries=tuple(entries))),)
        )
        before = sorted(files.iterdir())
        with pytest.raises(SourceEscapesError):
            write_context(recipe, tmp_path / "deep/context", NoWheels())
        assert sorted(files.iterdir()) == before
        assert [*(tmp_path / "deep").iterdir()] == [tmp_path / "deep/context"]

    @pytest.mark.parametrize(
        ("names", "text", "expected"),
        [
            (("Dockerfile",), "FROM x", "Dockerfile"),
            (("app.Dockerfile",), "FROM x", "Dockerfile"),
            (("Dockerfile",), "FROM y", "Dockerfile-1"),
            (("Dockerfile.dockerignore",), "FROM x", "Dockerfile-1"),
            (("Dockerfile", "Dockerfile-1"), "FROM y", "Dockerfile-2"),
        ],
    )
    def test_the_dockerfile_is_beside_no_other(
        self, names: tuple[str, ...], text: str, expected: str
    ) -> None:
        step = BuildDockerfile(
            file="Dockerfile",
            text=text,
            context=tree_of(**dict.fromkeys(names, "FROM x")),
        )
        assert dockerfile_name(recipe_of(bare(), step)) == expected


@pytest.fixture(scope="module")
def base(base_layout: Path, warm_store: Store) -> BaseImage:
    return host_base(base_layout, warm_store)


def pip(
    base: BaseImage, store: Store, *layers: tuple[str, ...]
) -> list[InstallDistributions]:
    assert base.interpreter is not None
    options = InstallOptions()
    found = resolve(
        [PipPackages(packages=p, options=options, origin=ORIGIN) for p in layers],
        target_of(base),
        lineage="lowering",
        store=store,
    )
    return [
        InstallDistributions(
            interpreter=base.interpreter,
            distributions=item.distributions,
            removed=item.removed,
            origin=ORIGIN,
        )
        for item in found
    ]


def in_store(store: Store, made: Path, **more: object) -> Distribution:
    """Return a wheel that nobody published."""
    item = distribution(made, **more)  # type: ignore[arg-type]
    store.add_wheel(made, item.sha256, item.filename)
    return item


@pytest.mark.engine
class TestBuilds:
    @pytest.mark.index
    @pytest.mark.parametrize("standalone", [False, True], ids=["context", "standalone"])
    def test_the_files_are_those_of_the_embedded_builder(
        self,
        standalone: bool,
        base: BaseImage,
        warm_store: Store,
        engine: Engine,
        tmp_path: Path,
    ) -> None:
        assert base.interpreter is not None
        first, second = pip(
            base, warm_store, ("jmespath", "greenlet", "six"), ("httpx",)
        )
        second = replace(second, removed=("six",))
        folder = warm_store.temporary()
        info = "tiny-1.0.dist-info"
        local = in_store(
            warm_store,
            make_wheel(folder, {"tiny.py": b"", f"{info}/INSTALLER": b"somebody\n"}),
            direct_url='{"url": "file:///x", "dir_info": {}}',
        )
        (tmp_path / "empty").mkdir()
        (tmp_path / "a b").write_text("1")
        tree = sources.walk(str(tmp_path), NOTHING)
        steps: tuple[Step, ...] = (
            CreateVenv(interpreter=base.interpreter),
            SetEnv(variables=(("UV_LINK_MODE", "copy"), ("A", "b c\n"))),
            SetWorkdir(path="/root"),
            first,
            second,
            replace(second, distributions=(local,), removed=()),
            SetWorkdir(path="/srv/app"),
            CopyTree(tree=tree, destination="/srv/app", label="x"),
            CopyTree(tree=tree, destination="/root/b", label="x"),
            CopyTree(tree=tree, destination="/tmp", label="x"),
        )
        wheels = Wheels(warm_store)
        uv = installer(
            base, folder="", store=warm_store, wheels=wheels, progress=silent
        )
        recipe = recipe_of(base, *steps, installer=uv, standalone=standalone)

        result = solve(engine, recipe, tmp_path, wheels=wheels)

        plan, _ = plan_of(base, *steps)
        with Registries() as registries:
            builder = OCIBuilder(
                BuilderContext(
                    store=warm_store,
                    registries=registries,
                    wheels=wheels,
                    progress=silent,
                )
            )
            (image,) = builder.build(plan).images
        layers = image.layers[len(base.layers) :]
        expected = flattened(
            tar_bytes(warm_store, layer.descriptor) for layer in layers
        )
        found = result.files
        assert "opt/venv/bin/jp.py" in found
        # A folder that no layer mentions comes to be as root's, 0755.
        expected.setdefault("root/b", File("folder", 0o755, (0, 0)))
        # Folders of the base are in BuildKit's layers too, as the base has them.
        assert found["tmp"].mode == 0o1777
        for path in ("root", "srv", "opt", "tmp"):
            found.pop(path, None)
            expected.pop(path, None)
        assert sorted(found) == sorted(expected)
        assert found == expected
        assert {**result.env} == {**result.env, "A": "b c\n"}
        assert result.config["config"]["WorkingDir"] == "/srv/app"

    @pytest.mark.index
    def test_what_commands_compile_fits_in_the_image(
        self, base: BaseImage, warm_store: Store, engine: Engine, tmp_path: Path
    ) -> None:
        """The time in a compiled module is that of its source in the layers."""
        assert base.interpreter is not None
        (six,) = pip(base, warm_store, ("six",))
        wheels = Wheels(warm_store)
        recipe = recipe_of(
            base,
            CreateVenv(interpreter=base.interpreter),
            six,
            RunCommands(commands=("/opt/venv/bin/python -c 'import six'",)),
            installer=installer(
                base, folder="", store=warm_store, wheels=wheels, progress=silent
            ),
        )

        result = solve(engine, recipe, tmp_path, wheels=wheels)

        site = "opt/venv/lib/python3.11/site-packages"
        compiled = result.files[f"{site}/__pycache__/six.cpython-311.pyc"].content
        assert compiled[8:12] == CREATED.to_bytes(4, "little")

    def test_packages_leave_nothing_but_themselves(
        self, base: BaseImage, engine: Engine, tmp_path: Path
    ) -> None:
        (tmp_path / "docker-clean").write_text(
            'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };\n'
        )
        tree = sources.single_file(str(tmp_path / "docker-clean"), "docker-clean")
        steps: tuple[Step, ...] = (
            CopyTree(tree=tree, destination="/etc/apt/apt.conf.d", label="x"),
            InstallAptPackages(packages=("less", "python3-yaml", "dbus")),
        )
        recipe = recipe_of(base, *steps)
        first = solve(engine, recipe, tmp_path / "1", "--no-cache")
        # A clean layer that was made a second later has the same bytes.
        second = solve(engine, recipe, tmp_path / "2", "--no-cache")

        assert first.layers == second.layers
        files = first.files
        assert files["usr/bin/less"].mode == 0o755
        module = "usr/lib/python3/dist-packages/yaml/__pycache__/nodes.cpython-311.pyc"
        checked_by_hash = b"\x03\0\0\0"
        assert files[module].content[4:8] == checked_by_hash
        leftovers = re.compile(
            r"var/lib/apt/lists|var/cache/(?:apt|ldconfig)|var/log|run/|tmp/|"
            r".*machine-id|(?!.*\.wh\.).*-old$|var/cache/debconf/[^.].*-old"
        )
        assert [path for path in files if leftovers.match(path)] == []
        assert "DEBIAN_FRONTEND" not in first.env

        kept = RunCommands(commands=("ls /archives > /kept",))
        shown = recipe_of(base, kept)
        caches = re.findall(r"id=(imagekit-apt-\S+-archives)", recipe.dockerfile)
        mount = f"RUN --mount=type=cache,id={caches[0]},target=/archives "
        text = shown.dockerfile.replace("RUN ", mount)
        listed = solve(engine, replace(shown, dockerfile=text), tmp_path / "3")
        assert b"less_" in listed.files["kept"].content

    def test_secrets_and_certificates_are_there_for_one_command(
        self, base: BaseImage, engine: Engine, tmp_path: Path
    ) -> None:
        both = Secret("token", mount="/opt/new/folder/token", as_env_var="TOKEN")
        tell = 'test "$(cat /opt/new/folder/token)" = "$TOKEN" && printf %s ${#TOKEN}'
        authorities = "cat $SSL_CERT_FILE > /ca-1; printf %s $PIP_CERT > /name"
        steps: tuple[Step, ...] = (
            RunCommands(
                commands=(f"{tell} > /length", authorities), secret_mounts=(both,)
            ),
            RunCommands(commands=("printf %s ${TOKEN-none} > /later",)),
        )
        recipe = recipe_of(base, *steps)
        (tmp_path / "ca.pem").write_text("authorities")
        given = f"--secret=id={recipe.secrets[0].id},env=VALUE"
        with_ca = (
            f"--secret=id={CA_SECRET},src={tmp_path / 'ca.pem'}",
            *(f"--build-arg={name}={CA_PATH}" for name in CA_VARIABLES),
        )
        environ = {"VALUE": "hidden value"}

        result = solve(engine, recipe, tmp_path / "1", given, *with_ca, environ=environ)
        files = result.files
        assert {path: file.content for path, file in files.items()} == {
            "ca-1": b"authorities",
            "name": CA_PATH.encode(),
            "length": b"12",
            "later": b"none",
        }
        assert not set(CA_VARIABLES).intersection(result.env)

        free = recipe_of(
            base, RunCommands(commands=('printf %s "${SSL_CERT_FILE-none}" > /ca',))
        )
        without = solve(engine, free, tmp_path / "2")
        assert {path: file.content for path, file in without.files.items()} == {
            "ca": b"none"
        }

    def test_a_dockerfile_gets_its_context_and_no_more(
        self, base: BaseImage, engine: Engine, tmp_path: Path
    ) -> None:
        folder = tmp_path / "project"
        (folder / "sub").mkdir(parents=True)
        (folder / "sub/a").write_text("1")
        (folder / ".dockerignore").write_text("Dockerfile\n!sub/a\nother\n")
        tree = sources.walk(str(folder), NOTHING)
        text = textwrap.dedent("""\
            FROM base AS web
            ARG A
            COPY . /all
            RUN printf %s "$A" > /value
            FROM web
            RUN touch /last
        """)
        step = BuildDockerfile(
            file="Dockerfile",
            text=text,
            context=tree,
            build_args=(("A", "$HOME \n'"),),
            target="web",
        )
        recipe = recipe_of(base, step)
        assert recipe.target is not None

        result = solve(
            engine,
            replace(recipe, base=base),
            tmp_path,
            *("--target", recipe.target),
        )

        files = {
            path: file.content
            for path, file in result.files.items()
            if file.kind == "file"
        }
        assert files == {
            "all/sub/a": b"1",
            "all/.dockerignore": b"Dockerfile\n!sub/a\nother\n",
            "value": b"$HOME \n'",
        }

    def test_a_printed_dockerfile_needs_no_files(
        self, base: BaseImage, engine: Engine, tmp_path: Path
    ) -> None:
        assert base.interpreter is not None
        recipe = recipe_of(
            base,
            CreateVenv(interpreter=base.interpreter),
            RunCommands(commands=("/opt/venv/bin/python -c 'print(1)' > /one\n",)),
            standalone=True,
        )
        assert recipe.entries == ()
        (tmp_path / "context").mkdir()
        (tmp_path / "context/Dockerfile").write_text(recipe.dockerfile)
        assert isinstance(base.source, LayoutSource)
        place = f"base=oci-layout://{base.source.path}@{base.manifest}"

        done = docker_build(
            engine,
            tmp_path / "context",
            *("--build-context", place),
            output=tmp_path / "image.tar",
        )

        assert done.returncode == 0, done.stderr
        found = read_image(tmp_path / "image.tar", base).files
        assert found["one"].content == b"1\n"
        assert found["opt/venv/bin/python"].content == base.interpreter.path.encode()
