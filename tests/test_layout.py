"""OCI layouts and archives on disk, and what is found wrong with them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from machine.judges import Judges
from small_images import AMD64, ARM64, Images, python_files

from imagekit.digest import Digest
from imagekit.errors import HashMismatchError, LayoutError
from imagekit.oci import model
from imagekit.oci.archive import save_archive, write_archive
from imagekit.oci.closure import Content, closure
from imagekit.oci.layout import Layout, write_layout
from imagekit.oci.model import Descriptor
from imagekit.oci.validate import check_image, check_layout
from imagekit.reference import Reference
from imagekit.store import Store


@pytest.fixture
def images() -> Images:
    return Images()


@pytest.fixture
def root(images: Images) -> Descriptor:
    """Return an index of two images that share their first layer."""
    shared = python_files()
    return images.index(
        images.image(shared, {"a": b"amd"}),
        images.image(shared, {"a": b"arm"}, platform=ARM64),
    )


def names(layout: Layout) -> list[str | None]:
    return [item.annotation(model.REF_NAME) for item in layout.images]


# Writing --------------------------------------------------------------------------


def test_a_layout_is_read_back(
    images: Images, root: Descriptor, tmp_path: Path
) -> None:
    written = images.layout(tmp_path / "new" / "x", root, "1", "latest")
    layout = check_layout(tmp_path / "new" / "x")

    assert layout == written
    assert layout.resolve("1").digest == root.digest
    assert layout.resolve("latest").digest == root.digest
    assert layout.resolve().digest == root.digest
    assert layout.resolve(str(root.digest)).digest == root.digest
    assert layout.resolve(f"1@{root.digest}").digest == root.digest
    assert {d.digest for d in closure(root, images.open)} == set(images.blobs)
    assert {path.name for path in (layout.root / "blobs/sha256").iterdir()} == {
        digest.hex for digest in images.blobs
    }
    assert sorted(path.name for path in layout.root.iterdir()) == [
        "blobs",
        "index.json",
        "oci-layout",
    ]


def test_tags_are_taken_over_and_others_stay(
    images: Images, root: Descriptor, tmp_path: Path
) -> None:
    other = images.image(python_files(12))
    images.layout(tmp_path, root, "1", "latest")
    layout = images.layout(tmp_path, other, "2", "latest")

    assert layout.resolve("1").digest == root.digest
    assert layout.resolve("2").digest == other.digest
    assert layout.resolve("latest").digest == other.digest
    check_layout(tmp_path)


def test_unknown_fields_of_an_index_stay(
    images: Images, root: Descriptor, tmp_path: Path
) -> None:
    images.layout(tmp_path, root, "1")
    index = json.loads((tmp_path / "index.json").read_bytes())
    index["annotations"] = {"kept": "yes"}
    index["manifests"][0]["artifactType"] = "kept/too"
    (tmp_path / "index.json").write_text(json.dumps(index))

    images.layout(tmp_path, root, "2")

    found = json.loads((tmp_path / "index.json").read_bytes())
    assert found["annotations"] == {"kept": "yes"}
    assert found["manifests"][0]["artifactType"] == "kept/too"
    assert len(found["manifests"]) == 2


def test_an_image_without_tag_stands_once(
    images: Images, root: Descriptor, tmp_path: Path
) -> None:
    images.layout(tmp_path, root)
    layout = images.layout(tmp_path, root)

    assert names(layout) == [None]
    assert layout.resolve().digest == root.digest


def test_files_of_the_store_are_linked(
    images: Images, root: Descriptor, store: Store, tmp_path: Path
) -> None:
    for content in images.blobs.values():
        store.add_blob(content)

    layout = write_layout(tmp_path / "x", root, lambda d: store.blob_path(d.digest))

    check_layout(layout.root)
    assert layout.blob_path(root.digest).samefile(store.blob_path(root.digest))


def test_files_are_copied_where_links_are_refused(
    images: Images, root: Descriptor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    source = images.layout(tmp_path / "source", root)

    copy = write_layout(tmp_path / "copy", root, lambda d: source.blob_path(d.digest))

    check_layout(copy.root)
    assert copy.blob_path(root.digest).stat().st_nlink == 1


def test_a_blob_of_another_size_is_replaced(
    images: Images, root: Descriptor, tmp_path: Path
) -> None:
    layout = images.layout(tmp_path, root)
    layout.blob_path(root.digest).write_bytes(b"half")

    images.layout(tmp_path, root)

    check_layout(tmp_path)


def test_a_failed_write_leaves_the_layout_as_it_was(
    images: Images, root: Descriptor, tmp_path: Path
) -> None:
    images.layout(tmp_path, root, "1")
    before = (tmp_path / "index.json").read_bytes()
    other = images.image(python_files(12), {"b": b"b"})

    def broken(descriptor: Descriptor) -> Content:
        if descriptor.media_type == model.LAYER_GZIP:
            return [b"x" * descriptor.size]
        return images.open(descriptor)

    with pytest.raises(HashMismatchError):
        write_layout(tmp_path, other, broken, tags=["1"])

    assert (tmp_path / "index.json").read_bytes() == before
    assert not list(tmp_path.glob(".imagekit-*"))
    check_layout(tmp_path)


def test_what_a_killed_writer_left_is_in_nobodys_way(
    images: Images, root: Descriptor, tmp_path: Path
) -> None:
    (tmp_path / "blobs" / "sha256").mkdir(parents=True)
    (tmp_path / ".imagekit-1234").write_bytes(b"half")

    images.layout(tmp_path, root)

    check_layout(tmp_path)
    assert not list(tmp_path.glob(".imagekit-*"))


def test_writers_side_by_side_lose_no_tag(
    images: Images, root: Descriptor, tmp_path: Path
) -> None:
    source = images.layout(tmp_path / "source", root)
    program = """
import sys
from pathlib import Path
from imagekit.oci.layout import Layout, write_layout
source = Layout(Path(sys.argv[1]))
root = source.resolve()
for number in range(10):
    tag = f"{sys.argv[3]}-{number}"
    write_layout(sys.argv[2], root, lambda d: source.blob_path(d.digest), tags=[tag])
"""
    target = tmp_path / "target"
    argv = [sys.executable, "-c", program, str(source.root), str(target)]
    writers = [subprocess.Popen([*argv, name]) for name in "abc"]

    assert [writer.wait() for writer in writers] == [0, 0, 0]
    found = names(check_layout(target))
    assert sorted(map(str, found)) == [f"{n}-{i}" for n in "abc" for i in range(10)]


@pytest.mark.parametrize("kind", ["file", "other-folder"])
def test_other_things_are_not_written_over(
    images: Images, root: Descriptor, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "x"
    if kind == "file":
        path.write_text("mine")
    else:
        path.mkdir()
        (path / "mine.txt").write_text("mine")

    with pytest.raises(LayoutError, match="x'"):
        images.layout(path, root)

    assert (
        path.read_text() == "mine" if kind == "file" else (path / "mine.txt").exists()
    )


# Reading --------------------------------------------------------------------------


def test_a_name_has_to_be_known(
    images: Images, root: Descriptor, tmp_path: Path
) -> None:
    layout = images.layout(tmp_path, root, "1", "2")

    with pytest.raises(LayoutError, match=r"'3'.*found none") as caught:
        layout.resolve("3")

    assert caught.value.issues == (f"1@{root.digest}", f"2@{root.digest}")
    with pytest.raises(LayoutError, match="found none"):
        layout.resolve(str(Digest.of(b"other")))
    with pytest.raises(LayoutError, match="found none"):
        layout.resolve(f"1@{Digest.of(b'other')}")


def test_several_images_need_a_name(
    images: Images, root: Descriptor, tmp_path: Path
) -> None:
    images.layout(tmp_path, root, "1")
    layout = images.layout(tmp_path, images.image(python_files(12)), "2")

    with pytest.raises(
        LayoutError, match=r"wanted one image .* found 2 images"
    ) as caught:
        layout.resolve()

    assert len(caught.value.issues) == 2


@pytest.mark.parametrize("marker", [None, "{}", '{"imageLayoutVersion": "2.0.0"}', "x"])
def test_other_folders_are_no_layouts(tmp_path: Path, marker: str | None) -> None:
    if marker is not None:
        (tmp_path / "oci-layout").write_text(marker)

    with pytest.raises(LayoutError):
        Layout.open(tmp_path)


def test_a_damaged_blob_is_not_read(
    images: Images, root: Descriptor, tmp_path: Path
) -> None:
    layout = images.layout(tmp_path, root)
    path = layout.blob_path(root.digest)
    path.write_bytes(path.read_bytes().replace(b"linux", b"LINUX"))

    with pytest.raises(LayoutError, match="damaged"):
        layout.read(root)
    path.unlink()
    with pytest.raises(LayoutError, match="no blob"):
        layout.read(root)


# Checking -------------------------------------------------------------------------


def faults(check: Callable[[], object]) -> str:
    with pytest.raises(LayoutError) as caught:
        check()
    assert caught.value.issues
    return "\n".join(caught.value.issues)


def test_every_fault_of_a_layout_is_reported(
    images: Images, root: Descriptor, tmp_path: Path
) -> None:
    layout = images.layout(tmp_path, root)
    blobs = sorted(
        closure(root, images.open), key=lambda d: (d.media_type, d.digest.hex)
    )
    layers = [d for d in blobs if d.media_type == model.LAYER_GZIP]
    configs = [d for d in blobs if d.media_type == model.CONFIG]
    layout.blob_path(layers[0].digest).unlink()
    layout.blob_path(layers[1].digest).write_bytes(b"x" * layers[1].size)
    layout.blob_path(layers[2].digest).write_bytes(b"")
    layout.blob_path(configs[0].digest).write_bytes(
        b"{}" + b" " * (configs[0].size - 2)
    )
    (tmp_path / "blobs" / "sha256" / "stray.tmp").write_bytes(b"")

    found = faults(lambda: check_layout(tmp_path))

    for descriptor in (*layers, configs[0]):
        assert str(descriptor.digest) in found
    assert "stray.tmp" in found


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"rootfs": {"type": "layers", "diff_ids": []}}, "0 diff_ids for 1 layers"),
        (
            {"rootfs": {"type": "layers", "diff_ids": [str(Digest.of(b"?"))]}},
            f"wanted diff_id {Digest.of(b'?')}, found",
        ),
        ({"rootfs": {"type": "x", "diff_ids": []}}, "of type 'layers', found 'x'"),
        ({"rootfs": {"diff_ids": ["md5:1"]}}, "'md5:1'"),
        ({"architecture": ""}, "without os and architecture"),
        ({"architecture": "arm64"}, "wanted a config for linux/amd64"),
        ({"history": [{}, {}]}, "the history has 2 layers, and diff_ids 1"),
        ({"config": {"Env": ["=x"]}}, "'=x'"),
    ],
)
def test_faults_of_configs(
    images: Images, extra: dict[str, object], words: str
) -> None:
    root = images.index(images.image(python_files(), extra=extra))

    assert words in faults(lambda: check_image(root, images.open))


def test_faults_of_layers(images: Images) -> None:
    sound = images.image(python_files())
    view = model.read_manifest(images.blobs[sound.digest])
    odd = images.add(b"text", "text/plain")
    plain = images.add(b"no gzip" * 9, model.LAYER_GZIP)
    content = model.manifest(view.config, [odd, plain])
    root = images.add(content, model.MANIFEST)
    empty = images.add(model.manifest(view.config, []), model.MANIFEST)

    found = faults(lambda: check_image(root, images.open))

    assert "a layer of type 'text/plain'" in found
    assert f"{plain.digest}: a layer is not valid gzip" in found
    assert "without layers" in faults(lambda: check_image(empty, images.open))


def test_a_layer_that_was_cut_off_is_found(images: Images) -> None:
    sound = images.image(python_files())
    view = model.read_manifest(images.blobs[sound.digest])
    cut = images.add(images.blobs[view.layers[0].digest][:-20], model.LAYER_GZIP)
    root = images.add(model.manifest(view.config, [cut]), model.MANIFEST)

    assert "middle of its gzip data" in faults(lambda: check_image(root, images.open))


# Archives -------------------------------------------------------------------------


def archive(images: Images, root: Descriptor, *references: str) -> bytes:
    output = io.BytesIO()
    names = [Reference.parse(text) for text in references]
    write_archive(output, root, images.open, names=names, platform=AMD64)
    return output.getvalue()


def test_an_archive_is_a_layout_that_containerd_can_name(
    images: Images, root: Descriptor, tmp_path: Path
) -> None:
    content = archive(images, root, "app:1", "ghcr.io/team/app:2")
    with tarfile.open(fileobj=io.BytesIO(content)) as opened:
        opened.extractall(tmp_path, filter="data")

    layout = check_layout(tmp_path)
    assert {
        (item.annotation(model.CONTAINERD_NAME), item.annotation(model.REF_NAME))
        for item in layout.images
    } == {("docker.io/library/app:1", "1"), ("ghcr.io/team/app:2", "2")}


def test_an_archive_names_one_image_for_the_classic_store(
    images: Images, root: Descriptor, tmp_path: Path
) -> None:
    content = archive(images, root, "app:1", "ghcr.io/team/app:2")
    with tarfile.open(fileobj=io.BytesIO(content)) as opened:
        file = opened.extractfile("manifest.json")
        assert file is not None
        (found,) = json.load(file)
        members = opened.getnames()

    assert found["RepoTags"] == ["app:1", "ghcr.io/team/app:2"]
    assert len(found["Layers"]) == 2
    assert {found["Config"], *found["Layers"]} <= set(members)


def test_equal_images_give_equal_archives(images: Images, root: Descriptor) -> None:
    assert archive(images, root, "app:1") == archive(images, root, "app:1")
    assert archive(images, root, "app:1") != archive(images, root, "app:2")


def test_blobs_that_the_reader_has_are_left_out(
    images: Images, root: Descriptor
) -> None:
    layers = [d for d in closure(root, images.open) if d.media_type == model.LAYER_GZIP]
    output = io.BytesIO()
    sent = write_archive(
        output,
        root,
        images.open,
        names=[],
        platform=AMD64,
        omit={layer.digest for layer in layers},
    )

    with tarfile.open(fileobj=io.BytesIO(output.getvalue())) as opened:
        members = opened.getnames()
    assert not any(layer.digest.hex in name for layer in layers for name in members)
    assert sent.omitted == sum(layer.size for layer in layers)
    assert sent.size == sum(map(len, images.blobs.values())) - sent.omitted


def test_an_archive_file_appears_whole_or_not_at_all(
    images: Images, root: Descriptor, tmp_path: Path
) -> None:
    path = tmp_path / "image.tar"
    names = [Reference.parse("app:1")]
    save_archive(path, root, images.open, names=names, platform=AMD64)
    before = path.read_bytes()

    def broken(descriptor: Descriptor) -> Iterator[bytes]:
        if descriptor.media_type == model.LAYER_GZIP:
            raise OSError(5, "Input/output error")
        yield from images.open(descriptor)

    with pytest.raises(OSError, match="Input/output"):
        save_archive(path, root, broken, names=names, platform=AMD64)

    assert path.read_bytes() == before == archive(images, root, "app:1")
    assert path.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in tmp_path.iterdir()] == ["image.tar"]


# Other people's tools -------------------------------------------------------------


@pytest.mark.engine
def test_the_base_image_is_valid(base_layout: Path) -> None:
    assert len(check_layout(base_layout).images) == 1


@pytest.mark.engine
def test_skopeo_umoci_and_crane_accept_a_layout(
    images: Images, root: Descriptor, judges: Judges, tmp_path: Path
) -> None:
    layout = images.layout(tmp_path / "layout", root, "1")
    amd64 = model.read_index(layout.read(root)).manifests[0]
    layout = images.layout(tmp_path / "layout", amd64, "amd64")

    inspected = judges.run(judges.skopeo, "inspect", f"oci:{layout.root}:amd64")
    copy = f"oci-archive:{tmp_path}/copy.tar:1"
    judges.run(judges.skopeo, "copy", "--all", f"oci:{layout.root}:1", copy)
    judges.run(
        judges.umoci,
        *("unpack", "--rootless", "--image", f"{layout.root}:amd64"),
        str(tmp_path / "bundle"),
    )
    save_archive(
        tmp_path / "image.tar",
        amd64,
        images.open,
        names=[Reference.parse("app:1")],
        platform=AMD64,
    )
    judges.run(judges.crane, "validate", "--tarball", str(tmp_path / "image.tar"))

    assert json.loads(inspected)["Digest"] == str(amd64.digest)
    assert (tmp_path / "bundle/rootfs/a").read_bytes() == b"amd"
    assert (tmp_path / "bundle/rootfs/lib").readlink() == Path("usr/lib")
