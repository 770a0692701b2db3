"""Installed files are those of the wheel specification, and of uv."""

from __future__ import annotations

import base64
import csv
import io
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from layer_reading import contents, entries
from wheel_maker import MTIME, PYTHON, Zipped, deflated, distribution, make_wheel

from imagekit.errors import BuildFailedError
from imagekit.plan import Interpreter, LayerDescriptor
from imagekit.store import Store
from imagekit_oci import scripts
from imagekit_oci.venv_layer import write_venv_layer
from imagekit_oci.verify import verify_wheel
from imagekit_oci.wheel_layer import write_wheel_layer

SITE = "opt/venv/lib/python3.11/site-packages"


def install(
    store: Store,
    wheel: Path,
    *,
    prefix: str = "/opt/venv",
    python: Interpreter = PYTHON,
    requested: bool = False,
    direct_url: str | None = None,
) -> LayerDescriptor:
    item = distribution(wheel, requested=requested, direct_url=direct_url)
    return write_wheel_layer(
        store, [(wheel, item)], interpreter=python, prefix=prefix, mtime=MTIME
    )


def test_files_go_where_the_specification_says(store: Store, tmp_path: Path) -> None:
    wheel = make_wheel(
        tmp_path,
        {
            "tiny/__init__.py": b"x = 1\n",
            "tiny/empty.py": b"",
            "tiny/run.sh": Zipped(data=b"#!/bin/sh\n", mode=0o100755),
            "tiny-1.0.data/purelib/pure.py": b"pure\n",
            "tiny-1.0.data/platlib/plat.so": b"plat\n",
            "tiny-1.0.data/headers/tiny.h": b"// h\n",
            "tiny-1.0.data/data/share/doc.txt": b"doc\n",
            "tiny-1.0.data/data/lib64/in-lib.txt": b"lib\n",
            "tiny-1.0.data/scripts/tool": b"#!python -u\nprint()\n",
            "tiny-1.0.data/scripts/window": b"#!pythonw\nprint()\n",
            "tiny-1.0.data/scripts/binary": b"\x7fELF\0\1\2",
            "tiny-1.0.data/scripts/short": b"#!",
            "tiny-1.0.dist-info/entry_points.txt": (
                b"[console_scripts]\nTiny = tiny.cli:app.main [extra]\n"
                b"[gui_scripts]\ntiny-gui=tiny:gui\n[other]\nx = y\n"
            ),
        },
    )

    layer = install(store, wheel, requested=True, direct_url='{"url": "x"}')

    found = contents(store, layer)
    info = f"{SITE}/tiny-1.0.dist-info"
    assert found.pop(f"{info}/METADATA").startswith(b"Metadata-Version")
    assert found.pop(f"{info}/WHEEL").startswith(b"Wheel-Version")
    assert found.pop(f"{info}/entry_points.txt")
    record = found.pop(f"{info}/RECORD").decode()
    launcher = found.pop("opt/venv/bin/Tiny").decode()
    assert launcher.startswith("#!/opt/venv/bin/python\n")
    assert "from tiny.cli import app\n" in launcher
    assert "sys.exit(app.main())" in launcher
    assert b"sys.exit(gui())" in found.pop("opt/venv/bin/tiny-gui")
    assert found == {
        f"{SITE}/tiny/__init__.py": b"x = 1\n",
        f"{SITE}/tiny/empty.py": b"",
        f"{SITE}/tiny/run.sh": b"#!/bin/sh\n",
        f"{SITE}/pure.py": b"pure\n",
        f"{SITE}/plat.so": b"plat\n",
        "opt/venv/include/site/python3.11/tiny/tiny.h": b"// h\n",
        "opt/venv/share/doc.txt": b"doc\n",
        "opt/venv/lib/in-lib.txt": b"lib\n",
        "opt/venv/bin/tool": b"#!/opt/venv/bin/python -u\nprint()\n",
        "opt/venv/bin/window": b"#!/opt/venv/bin/python\nprint()\n",
        "opt/venv/bin/binary": b"\x7fELF\0\1\2",
        "opt/venv/bin/short": b"#!",
        f"{info}/INSTALLER": b"imagekit",
        f"{info}/REQUESTED": b"",
        f"{info}/direct_url.json": b'{"url": "x"}',
    }
    executable = {
        path
        for path, entry in entries(store, layer).items()
        if entry.isfile() and entry.mode & 0o111
    }
    assert executable == {f"{SITE}/tiny/run.sh"} | {
        f"opt/venv/bin/{name}"
        for name in ("Tiny", "tiny-gui", "tool", "window", "binary", "short")
    }
    check_record(record, contents(store, layer), SITE)


def check_record(record: str, files: dict[str, bytes], site: str) -> None:
    rows = list(csv.reader(io.StringIO(record)))
    listed = {os.path.normpath(f"{site}/{path}"): rest for path, *rest in rows}
    assert rows == sorted(rows)
    assert listed.keys() == files.keys()
    for path, (digest, size) in listed.items():
        if not path.endswith("/RECORD"):
            assert int(size) == len(files[path])
            encoded = base64.urlsafe_b64encode(sha256(files[path]).digest())
            assert digest == "sha256=" + encoded.decode().rstrip("=")


def test_record_lists_what_the_wheel_forgot_and_forgets_what_it_lacks(
    store: Store, tmp_path: Path
) -> None:
    wheel = make_wheel(
        tmp_path,
        {"tiny.py": b"1\n", "forgotten.py": b"2\n"},
        record="tiny.py,,\nmissing.py,sha256=AAAA,4\ntiny-1.0.dist-info/RECORD,,\n",
    )

    found = contents(store, install(store, wheel))

    check_record(found[f"{SITE}/tiny-1.0.dist-info/RECORD"].decode(), found, SITE)


def test_a_wheels_own_installer_files_do_not_count(
    store: Store, tmp_path: Path
) -> None:
    wheel = make_wheel(
        tmp_path,
        {
            "tiny-1.0.dist-info/INSTALLER": b"pip",
            "tiny-1.0.dist-info/REQUESTED": b"",
            "tiny-1.0.dist-info/direct_url.json": b"{}",
        },
    )

    found = contents(store, install(store, wheel))

    assert found[f"{SITE}/tiny-1.0.dist-info/INSTALLER"] == b"imagekit"
    assert f"{SITE}/tiny-1.0.dist-info/REQUESTED" not in found
    assert f"{SITE}/tiny-1.0.dist-info/direct_url.json" not in found


@pytest.mark.parametrize(
    ("path", "first"),
    [
        ("/opt/venv/bin/python", "#!/opt/venv/bin/python"),
        ("/" + "x" * 123, "#!/" + "x" * 123),
        ("/" + "x" * 124, "#!/bin/sh"),
        ("/opt/my venv/bin/python", "#!/bin/sh"),
    ],
)
def test_shebangs_that_the_kernel_can_not_take_are_left_to_sh(
    path: str, first: str
) -> None:
    assert scripts.shebang(path).split("\n")[0] == first


def test_a_script_below_a_strange_path_runs(tmp_path: Path) -> None:
    folder = tmp_path / "it's a long way"
    folder.mkdir()
    (folder / "python").symlink_to(sys.executable)
    script = folder / "script"
    script.write_text(
        scripts.shebang(f"{folder}/python") + "\nimport sys\nprint(sys.argv[1:])\n"
    )
    script.chmod(0o755)

    found = subprocess.run([script, "a b"], capture_output=True, check=True, text=True)

    assert found.stdout == "['a b']\n"


def test_pip_gets_a_script_for_the_python_of_the_image() -> None:
    text = "[console_scripts]\npip = a:b\npip3 = a:b\npip3.9 = a:b\n"

    found = scripts.parse(text, filename="pip.whl", minor=12)

    assert [script.name for script in found] == ["pip", "pip3", "pip3.12"]


INFO = "tiny-1.0.dist-info"
DATA = "tiny-1.0.data"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"/etc/passwd": b"x"}, "'/etc/passwd' has a name that is not safe"),
        ({"../up.py": b"x"}, "'../up.py' has a name that is not safe"),
        ({"a/../../up.py": b"x"}, "has a name that is not safe"),
        ({"a//b.py": b"x"}, "has a name that is not safe"),
        ({"a/./b.py": b"x"}, "has a name that is not safe"),
        ({"a\\b.py": b"x"}, "has a name that is not safe"),
        ({"a\0b.py": b"x"}, "has a name that is not safe"),
        ({"a/.wh.b": b"x"}, "'a/.wh.b' has a name that is not safe"),
        ({"a.py": Zipped(data=b"x", flags=1)}, "'a.py' is encrypted"),
        ({"a": b"x", "a/b.py": b"x"}, "would be both a file and a folder"),
        ({"a.py": b"x", f"{DATA}/purelib/a.py": b"x"}, "two files would be installed"),
        ({f"{DATA}/data/bin/python": b"x"}, "'bin/python' would replace a part of"),
        ({f"{DATA}/data/pyvenv.cfg": b"x"}, "'pyvenv.cfg' would replace a part of"),
        ({f"{DATA}/data/lib64": b"x"}, "'lib64' would replace a part of"),
        ({f"{DATA}/scripts/a/b": b"x"}, "is a script in a folder"),
        ({f"{DATA}/wrong/b": b"x"}, "is for 'wrong'"),
        ({f"{DATA}/wrong": b"x"}, "is in no folder of its .data folder"),
        ({"b-1.dist-info/METADATA": b"x"}, "wanted one .dist-info folder, found b-1"),
        ({f"{INFO}/WHEEL": b"Wheel-Version: 2.0\n"}, "has version '2.0' of the wheel"),
        ({f"{INFO}/WHEEL": b"\n"}, "has version '' of the wheel format"),
        ({f"{INFO}/RECORD": b"a,b\n"}, "RECORD' can't be read: line 1 has 2 fields"),
        ({f"{INFO}/RECORD": b"\xff"}, "RECORD' is not UTF-8"),
        (
            {f"{INFO}/entry_points.txt": b"[console_scripts]\na/b = c:d\n"},
            "script 'a/b' has a name that is no file name",
        ),
        (
            {f"{INFO}/entry_points.txt": b"[console_scripts]\na = b\n"},
            "script 'a' wants 'module:function', found 'b'",
        ),
        ({f"{INFO}/entry_points.txt": b"a = b\n"}, "entry_points.txt can't be read"),
        ({"a.py": Zipped(data=b"x", crc=1)}, "'a.py' is damaged: wanted 1 bytes"),
        ({"a.py": Zipped(data=b"x", size=2)}, "'a.py' is damaged: wanted 2 bytes"),
        ({"a.py": Zipped(data=b"xyz", size=2)}, "'a.py' is damaged: wanted 2 bytes"),
        ({"a.py": Zipped(data=b"x", raw=b"\xff" * 9)}, "'a.py' is damaged: Error -"),
        (
            {"a.py": Zipped(data=b"hello", raw=deflated(b"hello")[:-2])},
            "'a.py' ends too early",
        ),
        (
            {"a.py": Zipped(data=b"x", local_name="b.py")},
            "'a.py' has another name in its own header",
        ),
        ({"a.py": Zipped(data=b"x", method=0, crc=1)}, "'a.py' can't be read: Bad CRC"),
        ({"a.py": Zipped(data=b"x", method=99)}, "'a.py' can't be read: "),
    ],
)
def test_bad_wheels_are_refused(
    store: Store, tmp_path: Path, files: dict[str, bytes | Zipped], message: str
) -> None:
    wheel = make_wheel(tmp_path, files)

    with pytest.raises(BuildFailedError) as caught:
        install(store, wheel)

    assert message in str(caught.value)
    assert "tiny-1.0-py3-none-any.whl" in str(caught.value)
    assert caught.value.hint
    assert not list((store.root / "blobs" / "sha256").glob("*"))
    assert not list((store.root / "tmp").glob("*"))


def test_a_member_that_is_there_twice_is_refused(store: Store, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, {"a.py": b"x"}, extra=[("a.py", Zipped(data=b"y"))])

    with pytest.raises(BuildFailedError, match=r"'a\.py' is there twice"):
        install(store, wheel)


@pytest.mark.parametrize("missing", ["WHEEL", "METADATA", "RECORD"])
def test_a_wheel_without_its_files_is_refused(tmp_path: Path, missing: str) -> None:
    wheel = make_wheel(tmp_path, {})
    renamed = f"{INFO}/{missing.lower()}".encode()
    data = wheel.read_bytes().replace(f"{INFO}/{missing}".encode(), renamed)
    # RECORD names it too, and is checked after what is missing.
    wheel.write_bytes(data)

    with pytest.raises(BuildFailedError, match=f"has no {INFO}/{missing}"):
        verify_wheel(wheel)


def test_what_is_no_zip_archive_is_refused(store: Store, tmp_path: Path) -> None:
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    wheel.write_bytes(b"<html>")

    with pytest.raises(BuildFailedError, match="can't be read as a zip archive"):
        install(store, wheel)


def test_verify_accepts_what_can_be_installed(tmp_path: Path) -> None:
    verify_wheel(make_wheel(tmp_path, {"a.py": b"x", "b.py": b""}))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("a.py,sha256=AAAA,1\n", r"'a\.py' is not the one in RECORD: wanted sha256=AA"),
        ("a.py,md5=AAAA,1\n", "RECORD has a hash of kind 'md5' for 'a.py'"),
    ],
)
def test_verify_refuses_what_record_does_not_list(
    tmp_path: Path, record: str, message: str
) -> None:
    wheel = make_wheel(tmp_path, {"a.py": b"x"}, record=record)

    with pytest.raises(BuildFailedError, match=message):
        verify_wheel(wheel)


@pytest.mark.parametrize(
    "metadata", [b"Name: other\nVersion: 1.0\n", b"Name: tiny\nVersion: 1.1\n", b"\n"]
)
def test_verify_refuses_another_distribution(tmp_path: Path, metadata: bytes) -> None:
    wheel = make_wheel(tmp_path, {f"{INFO}/METADATA": metadata})

    with pytest.raises(BuildFailedError, match=r"tiny-1\.0-py3-none-any\.whl: "):
        verify_wheel(wheel)


def test_the_environment_works_on_a_real_python(store: Store, tmp_path: Path) -> None:
    """A venv layer and a wheel layer, unpacked by GNU tar, run by this Python."""
    prefix = f"{tmp_path}/image/venv"
    here = Interpreter(
        path=os.path.realpath(sys.executable),
        version=sys.version_info[:2],
        full_version=".".join(map(str, sys.version_info[:3])),
    )
    wheel = make_wheel(
        tmp_path,
        {
            "tiny.py": b"def main(): print('it works')\n",
            f"{INFO}/entry_points.txt": b"[console_scripts]\ntiny = tiny:main\n",
        },
    )
    for layer in (
        write_venv_layer(store, here, prefix, mtime=MTIME),
        install(store, wheel, prefix=prefix, python=here),
    ):
        unpack: list[str | Path] = [
            "tar",
            "-xzf",
            store.blob_path(layer.digest),
            "-C",
            "/",
            "--no-same-owner",
        ]
        subprocess.run(unpack, check=True)

    script = subprocess.run([f"{prefix}/bin/tiny"], capture_output=True, text=True)
    program = (
        "import sys, importlib.metadata as m; print(sys.prefix, m.version('tiny'))"
    )
    python = subprocess.run(
        [f"{prefix}/bin/python", "-c", program], capture_output=True, text=True
    )

    assert script.stdout == "it works\n", script.stderr
    assert python.stdout == f"{prefix} 1.0\n", python.stderr
