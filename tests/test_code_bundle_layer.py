"""The layer that code bundles are: named by what is in it, wherever it was read."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

from imagekit import Image
from imagekit.ignore import NOTHING
from imagekit.layers import CodeBundle
from imagekit.origin import caller
from imagekit.sources import walk

BASE = Image.from_base("python:3.12").clone(name="app")


def layer(folder: Path, dst: str = "/opt/code", label: str = "code") -> CodeBundle:
    tree = walk(str(folder), NOTHING)
    return CodeBundle(
        digest=tree.digest, dst=dst, label=label, tree=tree, origin=caller()
    )


def test_it_is_named_by_its_files_and_place(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    (one / "a.py").write_text("a")
    shutil.copytree(one, other)
    image = BASE.with_layers(layer(one))

    assert image == BASE.with_layers(layer(other, label="named otherwise"))
    assert image.identifier == BASE.with_layers(layer(other)).identifier
    assert image.content_id == BASE.with_layers(layer(other)).content_id
    assert pickle.loads(pickle.dumps(image)) == image
    assert image != BASE.with_layers(layer(one, dst="/opt/other"))
    (other / "a.py").write_text("b")
    changed = BASE.with_layers(layer(other))
    assert image != changed
    assert image.content_id != changed.content_id
