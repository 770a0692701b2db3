"""One message for each bad input: what was wanted, what was found, where, what to do.

Whole builds, from the definition to the error. Nothing here needs the network: the base
is a small image on disk, and the package index is on loopback.
"""

from __future__ import annotations

import io
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import package_index
import pytest
from machine.registry import HTPASSWD, PASSWORD, USER, Registry
from package_index import PackageIndex
from small_images import Images, python_files

from imagekit import BuildResult, Image
from imagekit.building import BuildOptions, build_image
from imagekit.errors import (
    AuthenticationError,
    BaseNotFoundError,
    BaseUnsuitableError,
    HashMismatchError,
    ImageKitError,
    InvalidLayerError,
    InvalidPlatformError,
    InvalidReferenceError,
    LayoutError,
    NoWheelError,
    RegistryError,
    ResolutionError,
    SourceEscapesError,
    SourceNotFoundError,
    SourceUnreadableError,
    StoreError,
    ValidationError,
)
from imagekit.oci.layout import Layout
from imagekit.oci.model import read_manifest
from imagekit.oci.validate import check_layout
from imagekit.settings import load_settings

NOBODY = 65534
WHEEL = "pure-1.0-py3-none-any.whl"


@dataclass
class Place:
    """A base image on disk, and where builds go."""

    folder: Path

    @property
    def base(self) -> Image:
        return Image.from_base(f"oci:{self.folder / 'base'}").clone(name="app")

    @property
    def layout(self) -> Path:
        return self.folder / "layout"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def build(
        self, image: Image, store: Path | None = None, **options: object
    ) -> BuildResult:
        """Build *image*, by default to a layout."""
        if not options.keys() & {"outputs", "push"}:
            options |= {"outputs": (f"oci:{self.layout}",), "push": False}
        values = {"cache_dir": store or self.store}
        return build_image(
            image,
            BuildOptions(**options),  # type: ignore[arg-type]
            settings=load_settings(arguments=values),
        )

    def refusal(self, image: Image, **options: object) -> ImageKitError:
        """Build *image* in vain, and return its only fault."""
        with pytest.raises(ImageKitError) as caught:
            self.build(image, **options)  # type: ignore[arg-type]
        error = caught.value
        assert not self.layout.exists()
        if isinstance(error, ValidationError):
            assert str(error.faults[0]) in str(error)
            (error,) = error.faults
        return error

    def files(self, result: BuildResult) -> dict[str, bytes]:
        """Return the files that the image has on top of its base."""
        assert result.digest is not None
        layout = check_layout(self.layout)
        root = layout.resolve(result.digest)
        found = {}
        for layer in read_manifest(layout.read(root)).layers[1:]:
            with tarfile.open(fileobj=io.BytesIO(layout.read(layer))) as archive:
                for entry in archive:
                    file = archive.extractfile(entry) if entry.isfile() else None
                    found[entry.name] = file.read() if file else b""
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    images = Images()
    images.layout(tmp_path / "base", images.image(python_files()), "py")
    return Place(tmp_path)


@pytest.fixture(scope="module")
def index() -> Iterator[PackageIndex]:
    with package_index.serve() as index:
        index.add(package_index.wheel("pure", "1.0"))
        windows = "cp311-cp311-win_amd64"
        index.add(package_index.wheel("windows-only", "1.0", tag=windows))
        yield index


def check(
    error: ImageKitError, kind: type[ImageKitError], *words: str, hint: str, at: str
) -> None:
    """Check what an error says; *at* is text of the line that it points to."""
    assert isinstance(error, kind), repr(error)
    for word in words:
        assert word in str(error)
    assert hint in (error.hint or "")
    assert error.message[0] == error.message[0].lower()
    assert not error.message.endswith(".")
    assert error.origin is not None
    file, _, line = error.origin.rpartition(":")
    assert file == __file__
    assert at in Path(file).read_text().splitlines()[int(line) - 1]
    assert error.origin in str(error)


# Files and folders


def test_a_missing_file(place: Place) -> None:
    missing = str(place.folder / "nowhere.txt")

    error = place.refusal(place.base.with_source_file(missing))

    found = "found none"
    check(error, SourceNotFoundError, missing, found, hint="path", at="source_file(mis")


def test_a_missing_folder(place: Place) -> None:
    missing = str(place.folder / "nowhere")

    error = place.refusal(place.base.with_source_folder(missing))

    check(error, SourceNotFoundError, missing, hint="path", at="source_folder(mis")


def test_a_missing_requirements_file(place: Place) -> None:
    missing = str(place.folder / "nowhere.txt")

    error = place.refusal(place.base.with_requirements(missing))

    check(error, SourceNotFoundError, missing, hint="path", at="requirements(mis")


def test_a_missing_script_is_one_fault(place: Place) -> None:
    missing = str(place.folder / "nowhere.py")

    error = place.refusal(Image.from_uv_script(missing, name="app"))

    check(error, SourceNotFoundError, missing, hint="create it", at="uv_script(mis")


def test_a_missing_project(place: Place) -> None:
    missing = str(place.folder / "pyproject.toml")

    error = place.refusal(place.base.with_uv_project(missing))

    check(error, SourceNotFoundError, missing, hint="path", at="uv_project(mis")


def test_all_faults_are_told_at_once(place: Place) -> None:
    image = place.base.with_source_file("/nowhere/a").with_source_folder("/nowhere/b")

    with pytest.raises(ValidationError, match="2 faults") as caught:
        place.build(image)

    assert "/nowhere/a" in str(caught.value)
    assert "/nowhere/b" in str(caught.value)


def test_a_file_whose_bytes_can_not_be_read(place: Place) -> None:
    # A regular file that nobody can read from its beginning, not even root.
    memory = place.folder / "memory"
    memory.symlink_to("/proc/self/mem")

    error = place.refusal(place.base.with_source_file(memory))

    words = ("can't read", "/mem'", "nput/output error")
    check(error, SourceUnreadableError, *words, hint="readable", at="file(memory)")


@contextmanager
def without_privileges() -> Iterator[None]:
    """Be a user whom file modes hold back: the superuser is not held back by any."""
    if os.geteuid():
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.mark.parametrize("mode", ["file", "folder"])
def test_what_may_not_be_read(mode: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        secret = folder / "inner" / "secret"
        secret.parent.mkdir()
        secret.write_text("x")
        image = Image.from_debian_base(install_flyte=False).with_source_folder(folder)
        image.uri  # noqa: B018  (all is imported before imports may be forbidden)
        hidden = secret if mode == "file" else secret.parent
        hidden.chmod(0)

        with without_privileges(), pytest.raises(SourceUnreadableError) as caught:
            image.uri  # noqa: B018
        hidden.chmod(0o755)

    check(
        caught.value,
        SourceUnreadableError,
        f"can't read {str(hidden)!r}",
        "Permission denied",
        hint="ignore file",
        at="source_folder(folder)",
    )


def test_a_device(place: Place) -> None:
    error = place.refusal(place.base.with_source_file("/dev/null"))

    words = ("can't copy '/dev/null'", "it is a device")
    check(error, SourceUnreadableError, *words, hint="remove it", at="/dev/null")


@pytest.mark.parametrize("target", ["../secret", "/etc/passwd", "inner/../../secret"])
def test_a_symlink_that_leaves_the_tree(target: str, place: Place) -> None:
    folder = place.folder / "src"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "link").symlink_to(
        target if target[0] == "/" else f"../{target}"
    )

    error = place.refusal(place.base.with_source_folder(folder))

    words = ("'inner/link'", str(folder), "leaves the folder", target)
    check(error, SourceEscapesError, *words, hint="inside the folder", at="folder(fol")


def test_a_working_directory_above_the_root(place: Place) -> None:
    error = place.refusal(place.base.with_workdir("../../up"))

    words = ("'../../up'", "leaves the image's root")
    check(error, InvalidLayerError, *words, hint="relative to '/'", at="../../up")


# Requirements


def test_a_bad_requirement(place: Place) -> None:
    error = place.refusal(place.base.with_pip_packages("numpy>>1"))

    words = ("invalid requirement 'numpy>>1'", "expected")
    check(error, InvalidLayerError, *words, hint="'name>=1.0'", at="numpy>>1")


def test_a_bad_line_of_a_requirements_file_is_named(place: Place) -> None:
    file = place.folder / "requirements.txt"
    file.write_text("# ours\npure\nnumpy>>1\n")

    error = place.refusal(place.base.with_requirements(file))

    words = ("'numpy>>1'", f"{file}:3")
    check(error, InvalidLayerError, *words, hint="'name>=1.0'", at="requirements(file)")


def test_no_wheel_for_the_platform(place: Place, index: PackageIndex) -> None:
    image = place.base.with_pip_packages("windows-only", index_url=index.url)

    error = place.refusal(image)

    words = ("windows-only", "has no wheel for linux/amd64 py3.11 glibc2.36")
    found = "win_amd64"
    check(error, NoWheelError, *words, found, hint="that has one", at="windows-only")


def test_no_such_package(place: Place, index: PackageIndex) -> None:
    image = place.base.with_pip_packages("no-such-package", index_url=index.url)

    error = place.refusal(image)

    words = ("no-such-package", "was not found")
    check(error, ResolutionError, *words, hint="requirements", at="no-such-package")


def test_a_hash_that_no_file_has(place: Place, index: PackageIndex) -> None:
    file = place.folder / "requirements.txt"
    file.write_text(f"pure==1.0 --hash=sha256:{'0' * 64}\n")
    image = place.base.with_requirements(file, index_url=index.url)

    error = place.refusal(image)

    words = ("pure 1.0", f"wanted sha256 '{'0' * 64}'", index.sha256(WHEEL))
    check(error, HashMismatchError, *words, hint="'pure'", at="requirements(file")


def test_a_wheel_that_was_replaced_after_it_was_resolved(
    place: Place, index: PackageIndex
) -> None:
    image = place.base.with_pip_packages("pure", index_url=index.url)
    place.build(image)
    for gone in (place.store / "wheels", place.store / "records/layers", place.layout):
        shutil.rmtree(gone)
    right = index.files[WHEEL]
    wanted = index.sha256(WHEEL)

    index.add(package_index.wheel("pure", "1.0", size=10))
    found = index.sha256(WHEEL)
    error = place.refusal(image)
    index.files[WHEEL] = right
    place.build(image)

    words = (WHEEL, wanted, found)
    check(error, HashMismatchError, *words, hint="--upgrade", at="index_url=index.url")


# Names


@pytest.mark.parametrize("platform", ["linux/sparc", "windows/amd64", "amd64", ""])
def test_an_unknown_platform(platform: str, place: Place) -> None:
    with pytest.raises(InvalidPlatformError) as caught:
        place.base.clone(platform=platform)  # type: ignore[arg-type]
    with pytest.raises(InvalidPlatformError) as at_build:
        place.build(place.base.with_workdir("/x"), platforms=(platform,))

    for error in (caught.value, at_build.value):
        assert str(error).startswith(f"unknown platform {platform!r}")
        assert "known: linux/amd64, linux/arm64" in str(error)
        assert "'linux/arm64'" in (error.hint or "")


@pytest.mark.parametrize(
    "name", ["My App", "app:1", "-app", "app//web", "ünï", "a" * 300]
)
def test_an_invalid_name(name: str, place: Place) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        Image.from_debian_base(name=name)
    error = place.refusal(place.base.with_workdir("/x"), name=name)

    for found in (caught.value, error):
        assert isinstance(found, InvalidReferenceError)
        assert str(found) == f"invalid image name {name!r}"
        assert "lower-case letters" in (found.hint or "")


@pytest.mark.parametrize("tag", ["no spaces", "", ".dot", "a:b", "x" * 129])
def test_an_invalid_tag(tag: str, place: Place) -> None:
    error = place.refusal(place.base.with_workdir("/x"), tag=tag)

    assert isinstance(error, InvalidReferenceError)
    assert str(error) == f"invalid tag {tag!r}"
    assert "at most 128" in (error.hint or "")


# Bases


def test_a_base_that_is_in_no_layout(place: Place) -> None:
    missing = place.folder / "nothing"
    image = Image.from_base(f"oci:{missing}").clone(name="app").with_workdir("/x")

    error = place.refusal(image)

    words = ("no OCI image layout at", str(missing))
    check(error, BaseNotFoundError, *words, hint="oci:PATH", at="{missing}")


def test_a_tag_that_the_layout_lacks(place: Place) -> None:
    base = f"oci:{place.folder / 'base'}:v9"
    image = Image.from_base(base).clone(name="app").with_workdir("/x")

    error = place.refusal(image)

    words = ("wanted an image named 'v9'", "found none", "py@sha256:")
    check(error, BaseNotFoundError, *words, hint="oci:PATH:TAG", at="from_base(base)")


@pytest.mark.engine
def test_a_base_that_the_registry_lacks(
    place: Place, empty_registry: Callable[..., Registry]
) -> None:
    base = f"{empty_registry().address}/team/nothing:1"
    image = Image.from_base(base).clone(name="app").with_workdir("/x")

    error = place.refusal(image)

    words = (f"no image '{base}' in the registry",)
    check(error, BaseNotFoundError, *words, hint="docker login", at="from_base(base)")


def test_a_base_whose_registry_is_not_there(place: Place) -> None:
    base = "127.0.0.1:1/team/base:1"
    image = Image.from_base(base).clone(name="app").with_workdir("/x")

    error = place.refusal(image)

    words = ("no answer from '127.0.0.1:1'", "refused")
    check(error, RegistryError, *words, hint="registry runs", at="from_base(base)")


def test_a_base_without_python(place: Place, index: PackageIndex) -> None:
    images = Images()
    images.layout(place.folder / "bare", images.image({"etc/issue": b"bare\n"}))
    bare = f"oci:{place.folder / 'bare'}"
    image = Image.from_base(bare).clone(name="app").with_pip_packages("pure")

    error = place.refusal(image)

    words = ("wanted a Python in the base", "bare'", "found none")
    check(error, BaseUnsuitableError, *words, hint="Python 3", at="from_base(bare)")


def test_a_base_for_another_platform(place: Place) -> None:
    image = place.base.with_workdir("/x")

    error = place.refusal(image, platforms=("linux/arm64",))

    words = ("no image for linux/arm64", "found: linux/amd64")
    check(error, BaseNotFoundError, *words, hint="linux/amd64", at="Image.from_base")


# Registries


@pytest.mark.engine
@pytest.mark.parametrize("login", [None, f"{USER}:wrong {PASSWORD}"])
def test_a_push_that_is_refused(
    login: str | None,
    place: Place,
    empty_registry: Callable[..., Registry],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from base64 import b64encode

    address = empty_registry(htpasswd=HTPASSWD).address
    if login is not None:
        auth = {"auth": b64encode(login.encode()).decode()}
        config = {"auths": {address: auth}}
        (place.folder / "config.json").write_text(json.dumps(config))
        monkeypatch.setenv("DOCKER_CONFIG", str(place.folder))
    image = place.base.with_workdir("/x")

    with pytest.raises(AuthenticationError) as caught:
        place.build(image, registry=address, push=True)

    error = caught.value
    assert f"'{address}' answered 401" in str(error)
    assert "/v2/app/" in str(error)
    assert "docker login" in (error.hint or "")
    assert PASSWORD not in f"{error} {error.hint} {error.__cause__}"
    expected = "no login" if login is None else "refused the login"
    assert expected in (error.hint or "")


# Disks


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[], None]]:
    """Give *folder* a disk of *size* KiB; yield what makes it large enough.

    Where no disk can be mounted, no file can grow beyond a fourth of the size instead.
    """
    folder.mkdir()
    if _mount(folder, f"size={size}k"):
        try:
            yield lambda: _make_room(folder)
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size << 8, before[1]))
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _mount(folder: Path, options: str) -> bool:
    if shutil.which("mount") is None:
        return False
    mount = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    return subprocess.run(mount, capture_output=True).returncode == 0


def _make_room(folder: Path) -> None:
    assert _mount(folder, "remount,size=64m")


@pytest.fixture
def large(place: Place, index: PackageIndex) -> Image:
    """Return an image of several files of some 100 KiB."""
    index.add(package_index.wheel("large", "1.0", size=200_000))
    folder = place.folder / "src"
    folder.mkdir()
    (folder / "noise").write_bytes(random.Random(1).randbytes(300_000))
    image = place.base.with_pip_packages("large", index_url=index.url)
    return image.with_source_folder(folder)


@pytest.mark.parametrize(
    "size", [4, 8, 12, 16, 24, 64, 100, 212, 240, 300, 400, 520, 640]
)
def test_a_full_disk_under_the_store(size: int, place: Place, large: Image) -> None:
    disk = place.folder / "disk"
    with small_disk(disk, size) as make_room:
        with pytest.raises(StoreError) as caught:
            place.build(large, store=disk / "store")
        make_room()
        again = place.build(large, store=disk / "store")

    error = caught.value
    assert "write to " in str(error)
    assert "the disk is full" in str(error) or "File too large" in str(error)
    assert "IMAGEKIT_CACHE_DIR" in (error.hint or "")
    assert again.digest == place.build(large, force=True).digest


@pytest.mark.parametrize("kind", ["oci", "tar"])
@pytest.mark.parametrize("size", [4, 100, 500])
def test_a_full_disk_under_the_output(
    size: int, kind: str, place: Place, large: Image
) -> None:
    disk = place.folder / "disk"
    output = disk / "out"
    options: dict[str, Any] = {"outputs": (f"{kind}:{output}",), "push": False}
    place.build(large, push=False)
    with small_disk(disk, size) as make_room:
        if kind == "oci" and not disk.is_mount():
            # Without a disk of its own, the layout is links to files of the store.
            pytest.skip("no small disk can be mounted: run the tests as root")
        with pytest.raises((StoreError, LayoutError)) as caught:
            place.build(large, **options)
        left = [path.name for path in disk.iterdir() if path != output]
        whole = output / "index.json" if kind == "oci" else output
        was_whole = whole.exists()
        make_room()
        place.build(large, **options)
        if kind == "oci":
            check_layout(output)
        else:
            with tarfile.open(output) as archive:
                assert "index.json" in archive.getnames()

    error = caught.value
    assert f"can't write to {str(output)!r}" in str(error)
    assert "No space left" in str(error) or "File too large" in str(error)
    assert "another place" in (error.hint or "")
    assert left == []
    assert not was_whole


def test_a_store_that_may_not_be_written(place: Place) -> None:
    occupied = place.folder / "file"
    occupied.write_text("not a folder")

    with pytest.raises(StoreError) as caught:
        place.build(place.base.with_workdir("/x"), store=occupied)

    assert f"can't write to {str(occupied)!r}" in str(caught.value)
    assert "IMAGEKIT_CACHE_DIR" in (caught.value.hint or "")


# What is odd, and good


ODD = [
    "with space",
    "it's",
    'say "hi"',
    "ünï—💡",
    "$HOME `id`; *?[a]",
    "-x",
    "a\\b",
    "%20",
]


@pytest.mark.parametrize("name", ODD)
def test_paths_with_odd_names_work(
    name: str, tmp_path: Path, index: PackageIndex
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    images = Images()
    images.layout(folder / "base", images.image(python_files()))
    place = Place(folder)
    source = folder / f"src {name}"
    (source / name).mkdir(parents=True)
    (source / name / f"{name}.txt").write_text(name)
    (source / "link").symlink_to(f"{name}/{name}.txt")
    (folder / f"{name}.bin").write_text("file")
    links = folder / f"links {name}"
    links.mkdir()
    filename, wheel = package_index.wheel("local", "2.0")
    (links / filename).write_bytes(wheel)
    (folder / f"r {name}.txt").write_text(f"--index-url {index.url}\npure\n")
    (folder / f"{name}.ignore").write_text("left out\n")
    (source / "left out").write_text("x")

    image = (
        place.base.with_dockerignore(folder / f"{name}.ignore")
        .with_requirements(folder / f"r {name}.txt")
        .with_pip_packages("local", extra_args=f"--find-links {quote(str(links))}")
        .with_env_vars({"ODD": name})
        .with_workdir(f"/opt/{name}")
        .with_source_folder(source, copy_contents_only=True)
        .with_source_file(folder / f"{name}.bin", f"/srv/{name}/")
    )
    result = place.build(image)
    files = place.files(result)

    where = f"opt/{name}"
    assert files[f"{where}/{name}/{name}.txt"] == name.encode()
    assert f"{where}/link" in files
    assert files[f"srv/{name}/{name}.bin"] == b"file"
    assert f"{where}/left out" not in files
    assert "opt/venv/lib/python3.11/site-packages/pure.py" in files
    assert "opt/venv/lib/python3.11/site-packages/local.py" in files


# The command line


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {"IMAGEKIT_CACHE_DIR": str(folder / "store")}
    return subprocess.run(
        [sys.executable, "-m", "imagekit", "build", *arguments],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )


DEFINITION = """\
from imagekit import Image

image = (
    Image.from_base("oci:base")
    .clone(name="app")
    .with_source_file({file!r})
)
"""


def test_the_command_line_says_it_on_stderr(place: Place) -> None:
    (place.folder / "image.py").write_text(DEFINITION.format(file="nowhere.txt"))

    done = run(place.folder, "image.py", "--output", "oci:out")

    assert done.returncode == 1
    assert done.stdout == ""
    assert f"error: wanted a file at '{place.folder}/nowhere.txt'" in done.stderr
    assert "\n  at image.py:6\n" in done.stderr
    assert "\nhint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_line_says_it_as_json(place: Place) -> None:
    (place.folder / "image.py").write_text(DEFINITION.format(file="nowhere.txt"))

    done = run(place.folder, "image.py", "--output", "oci:out", "--json")

    assert done.returncode == 1
    (fault,) = json.loads(done.stdout)["error"]["faults"]
    assert fault["kind"] == "SourceNotFoundError"
    assert fault["at"] == f"{place.folder / 'image.py'}:6"
    assert fault["hint"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--platform", "linux/sparc"], "unknown platform 'linux/sparc'"),
        (["--tag", "no spaces"], "invalid tag 'no spaces'"),
        (["--name", "My App"], "invalid image name 'My App'"),
    ],
)
def test_the_command_line_refuses_bad_names(
    arguments: list[str], words: str, place: Place
) -> None:
    (place.folder / "image.py").write_text(DEFINITION.format(file="image.py"))

    done = run(place.folder, "image.py", "--output", "oci:out", *arguments)

    assert done.returncode == 1
    assert done.stdout == ""
    assert words in done.stderr
    assert "hint: " in done.stderr
    assert not (place.folder / "out").exists()


@pytest.mark.parametrize("name", ODD)
def test_the_command_line_takes_odd_paths(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    images = Images()
    images.layout(folder / "base", images.image(python_files()))
    (folder / f"{name}.py").write_text(DEFINITION.format(file=f"{name}.py"))

    outputs = ["--output", f"oci:out {name}", "--output", f"tar:{name}.tar"]
    done = run(folder, f"./{name}.py", *outputs)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("app:ik1-")
    layout = Layout.open(folder / f"out {name}")
    assert str(layout.resolve().digest).startswith("sha256:")
    assert (folder / f"{name}.tar").stat().st_size
