"""Layers of fixed inputs. Needs nothing but the standard library and imagekit."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from wheel_maker import MTIME, PYTHON, Zipped, deflated, distribution, make_wheel

from imagekit.plan import LayerDescriptor
from imagekit.sources import Entry, Tree
from imagekit.store import Store
from imagekit_oci.tree_layer import write_tree_layer
from imagekit_oci.venv_layer import write_venv_layer
from imagekit_oci.wheel_layer import write_wheel_layer

#: Every way that a file can get into a layer.
FILES: dict[str, bytes | Zipped] = {
    "tiny/__init__.py": b'"""A package."""\n' * 40,
    "tiny/empty.py": b"",
    "tiny/stored.bin": Zipped(data=bytes(range(256)) * 10, method=0),
    "tiny/large.bin": Zipped(data=b"0123456789abcdef" * 150_000, method=0),
    "tiny/executable": Zipped(data=b"#!/bin/sh\n", mode=0o100755),
    "tiny/extra.py": Zipped(data=b"extra\n", local_extra=b"\1\2\4\0abcd"),
    "tiny/described.py": Zipped(data=b"described\n", flags=8),
    "tiny/junk.py": Zipped(data=b"junk\n", raw=deflated(b"junk\n") + b"PADDING"),
    "tiny/sub.dir/sub/file.py": b"deep\n",
    "tiny/" + "long" * 30 + ".py": b"long\n",
    "tiny/gr\u00fc\u00dfe.txt": b"unicode\n",
    "tiny-1.0.data/scripts/tool": b"#!python\nprint(1)\n",
    "tiny-1.0.dist-info/entry_points.txt": b"[console_scripts]\ntiny = tiny:main\n",
}


def write_wheels(
    store: Store, *wheels: Path, prefix: str = "/opt/venv"
) -> LayerDescriptor:
    """Write one layer of *wheels*."""
    items = [(wheel, distribution(wheel)) for wheel in wheels]
    return write_wheel_layer(
        store, items, interpreter=PYTHON, prefix=prefix, mtime=MTIME
    )


def make_tree(folder: Path) -> Tree:
    """Return a tree of a folder, a script, a text, an empty file and links."""
    folder.mkdir()
    contents = {"run.sh": b"#!/bin/sh\n", "sub/a.txt": b"text\n" * 9, "sub/empty": b""}
    entries = [
        Entry(path="sub", type="directory"),
        Entry(path="link", type="symlink", target="sub/a.txt"),
        Entry(path="\udcff", type="symlink", target="t" * 120),
    ]
    (folder / "sub").mkdir()
    for path, data in contents.items():
        (folder / path).write_bytes(data)
        entries.append(
            Entry(
                path=path,
                type="file",
                executable=path == "run.sh",
                size=len(data),
                sha256=sha256(data).hexdigest(),
                location=str(folder / path),
            )
        )
    entries.sort(key=lambda entry: entry.path.encode("utf-8", "surrogateescape"))
    return Tree(entries=tuple(entries))


def golden_layers(folder: Path) -> dict[str, dict[str, str | int]]:
    """Return what the layers are."""
    store = Store(folder / "golden-store")
    tree = make_tree(folder / "tree")
    layers = {
        "wheel": write_wheels(store, make_wheel(folder / "golden", FILES)),
        "venv": write_venv_layer(store, PYTHON, "/opt/venv", mtime=MTIME),
        "tree": write_tree_layer(store, tree, "/app", mtime=MTIME),
    }
    return {
        name: {"digest": str(x.digest), "diff_id": str(x.diff_id), "size": x.size}
        for name, x in layers.items()
    }
