"""What Python layers read: script headers, requirements files, options, projects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from package_index import write_project

from imagekit.errors import (
    DefinitionError,
    InvalidLayerError,
    SourceNotFoundError,
    SourceUnreadableError,
)
from imagekit.python_inputs.install_args import parse_extra_args
from imagekit.python_inputs.requirements_file import read_requirements
from imagekit.python_inputs.script_header import parse_script, python_for_script
from imagekit.python_inputs.uv_project import read_project

HEADER = """\
# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "requests<3",
#
#   "rich",
# ]
# ///
"""


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(HEADER + "\nimport requests\n", id="plain"),
        pytest.param("#!/usr/bin/env python3\n" + HEADER, id="shebang"),
        pytest.param("'''Docs.'''\n\n" + HEADER + "print(1)\n", id="after-docstring"),
        pytest.param(HEADER.rstrip("\n"), id="no-newline-at-end"),
        pytest.param(HEADER.replace("\n", "\r\n"), id="crlf"),
        pytest.param(
            "# /// pyproject\n# a = 1\n# ///\n\n" + HEADER, id="another-block-before"
        ),
        pytest.param(
            HEADER + "\n# /// other\n# b = 1\n# ///\n", id="another-block-after"
        ),
        pytest.param(HEADER + "# a comment below\n", id="comment-below"),
    ],
)
def test_script_headers_that_are_read(text: str) -> None:
    header = parse_script(text, name="/x/script.py")

    assert header.requires_python == ">=3.11"
    assert header.dependencies == ("requests<3", "rich")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("print(1)\n", "no header", id="none"),
        pytest.param("", "no header", id="empty"),
        pytest.param(HEADER + "\n" + HEADER, "2 headers", id="duplicate"),
        pytest.param("# /// script\n# a = 1\n", "not closed", id="unclosed"),
        pytest.param(
            "# /// script\n#dependencies = []\n# ///\n",
            "not closed",
            id="missing-space",
        ),
        pytest.param(
            "# /// script\n# a = 1\n\n# ///\n", "not closed", id="empty-line-inside"
        ),
        pytest.param("#/// script\n# a = 1\n# ///\n", "no header", id="no-space"),
        pytest.param("# /// script\n# a = [\n# ///\n", "not TOML", id="bad-toml"),
        pytest.param(
            '# /// script\n# dependencies = "x"\n# ///\n', "array", id="text-dependency"
        ),
        pytest.param(
            "# /// script\n# dependencies = [1]\n# ///\n", "array", id="number"
        ),
        pytest.param(
            '# /// script\n# requires-python = "three"\n# ///\n',
            "requires-python",
            id="bad-specifier",
        ),
        pytest.param(
            "# /// script\n# requires-python = 3\n# ///\n", "a text", id="number-python"
        ),
    ],
)
def test_script_headers_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        parse_script(text, name="script.py")


def test_the_header_runs_to_the_last_closing_line() -> None:
    # The specification: a "# ///" inside is content if another one follows.
    text = '# /// script\n# a = """\n# ///\n# """\n# ///\n'

    assert '"a":"///\\n"' in parse_script(text, name="script.py").text


def test_only_the_header_counts() -> None:
    one = parse_script(HEADER + "print(1)\n", name="script.py")
    commented = HEADER.replace("# ///\n", "# # said aside\n# ///\n")
    other = parse_script("#!/bin/x\n" + commented + "print(2)\n", name="script.py")
    changed = parse_script(HEADER.replace("rich", "rich>1"), name="script.py")

    assert one.text == other.text
    assert changed.text != one.text


def test_local_dependencies_of_a_script() -> None:
    header = parse_script(
        '# /// script\n# dependencies = ["a @ file:///abs/a", "b"]\n'
        "# [tool.uv.sources]\n"
        '# b = { path = "../b" }\n# c = { path = "c-1-py3-none-any.whl" }\n# ///\n',
        name="/x/y/script.py",
    )

    assert header.folders == (("a", "/abs/a"), ("b", "/x/b"))
    assert header.files == (("c", "/x/y/c-1-py3-none-any.whl"),)


@pytest.mark.parametrize(
    ("requires", "requested", "host", "expected"),
    [
        (None, None, (3, 13), (3, 13)),
        (None, (3, 10), (3, 13), (3, 10)),
        (">=3.11", None, (3, 12), (3, 12)),
        (">=3.13", None, (3, 12), (3, 14)),
        ("<3.12", None, (3, 12), (3, 11)),
        (">=3.11.4", None, (3, 11), (3, 11)),
        ("==3.12.*", None, (3, 11), (3, 12)),
        (">=3.10,<3.13", (3, 12), (3, 14), (3, 12)),
        (">=3.12", (3, 11), (3, 12), None),
        ("<3.9", None, (3, 12), None),
        (">=4", None, (3, 12), None),
    ],
)
def test_python_for_a_script(
    requires: str | None,
    requested: tuple[int, int] | None,
    host: tuple[int, int],
    expected: Any,
) -> None:
    line = f'# requires-python = "{requires}"\n' if requires else ""
    header = parse_script(
        f"# /// script\n{line}# ///\n"
        if line
        else HEADER.replace('# requires-python = ">=3.11"\n', ""),
        name="script.py",
    )

    if expected is None:
        with pytest.raises(DefinitionError, match="requires Python"):
            python_for_script(header, requested, host)
    else:
        assert python_for_script(header, requested, host) == expected


def test_requirements_files_with_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "t0ken")
    write_project(tmp_path / "my pkg", "my-pkg", "1.0")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "base.txt").write_text("-c ../limits.txt\nidna  # for names\n")
    (tmp_path / "limits.txt").write_text("six<2\n")
    (tmp_path / "req.txt").write_text(
        "\ufeff# a comment\n"
        "--index-url=https://bob:${TOKEN}@index.example/simple\n"
        "--extra-index-url https://other.example/simple\n"
        "-f ./links\n--pre\n--no-binary six,idna\n"
        "-r more/base.txt\n"
        "-e './my pkg'\n"
        "requests [socks] >= 2 ; python_version > '3' \\\n"
        "    --hash=sha256:aa \\\n"
        "    --hash=sha256:bb\n"
        "name @ https://files.example/x.whl#frag\n"
    )

    found = read_requirements(str(tmp_path / "req.txt"))

    assert [line.text for line in found.requirements] == [
        "idna",
        f"file://{tmp_path}/my%20pkg",
        "requests [socks] >= 2 ; python_version > '3'",
        "name @ https://files.example/x.whl#frag",
    ]
    assert found.requirements[2].hashes == ("sha256:aa", "sha256:bb")
    assert [line.text for line in found.constraints] == ["six<2"]
    assert found.options.index_url == "https://bob:t0ken@index.example/simple"
    assert found.options.extra_index_urls == ["https://other.example/simple"]
    assert found.options.find_links == [f"{tmp_path}/links"]
    assert found.options.pre
    assert found.options.no_binary == ["six", "idna"]
    assert [name for name, _ in found.files] == [
        "limits.txt",
        "more/base.txt",
        "req.txt",
    ]
    assert found.folders == (("my pkg", f"{tmp_path}/my pkg"),)


def test_requirements_files_that_include_each_other(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("-r b.txt\nsix\n")
    (tmp_path / "b.txt").write_text("-r a.txt\nidna\n")

    found = read_requirements(str(tmp_path / "a.txt"))

    assert [line.text for line in found.requirements] == ["idna", "six"]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("-r gone.txt\n", SourceNotFoundError, r"gone\.txt', named by .*req\.txt:1"),
        ("\n./gone\n", SourceNotFoundError, r"gone', named by .*req\.txt:2"),
        ("--wat\n", InvalidLayerError, "unknown option '--wat'"),
        ("-r\n", InvalidLayerError, "has no value"),
        ("-i 'x\n", InvalidLayerError, "unbalanced quotes"),
        ("six --global-option=x\n", InvalidLayerError, "--global-option"),
        ("-r https://x.example/r.txt\n", DefinitionError, "from the network"),
        ("\udcff", SourceUnreadableError, "not UTF-8"),
    ],
)
def test_requirements_files_that_are_refused(
    tmp_path: Path, text: str, error: type[Exception], message: str
) -> None:
    path = tmp_path / "req.txt"
    path.write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(error, match=message):
        read_requirements(str(path))


def test_a_missing_requirements_file(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match=r"gone\.txt"):
        read_requirements(str(tmp_path / "gone.txt"))


def test_extra_args_by_meaning() -> None:
    args = parse_extra_args(
        "--no-deps -i https://a.example --extra-index-url=https://b.example "
        "-c limits.txt --only-binary :all: --compile-bytecode --link-mode copy "
        "--exclude-newer 2026-01-01 -C key=value -f links --pre",
        folder="/x",
    )

    assert args.no_deps
    assert args.index == (
        ("--index-url", "https://a.example"),
        ("--extra-index-url", "https://b.example"),
        ("--find-links", "/x/links"),
    )
    assert args.files == (("--constraint", "/x/limits.txt"),)
    assert args.resolve == (
        *("--only-binary", ":all:"),
        *("--exclude-newer", "2026-01-01"),
        *("--prerelease", "allow"),
    )
    assert args.build == ("--config-setting", "key=value")
    assert args.ignored == ("--compile-bytecode", "--link-mode")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--wat", "unsupported option '--wat'"),
        ("--python-version 3.9", "--python-version"),
        ("-r file.txt", "--requirement"),
        ("six", "options only"),
        ("--only-binary", "has no value"),
        ("--pre 'x", "unbalanced"),
        ("--extra x", "--extra"),
    ],
)
def test_extra_args_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidLayerError, match=message):
        parse_extra_args(text, folder="/x")


def test_extra_args_of_projects() -> None:
    args = parse_extra_args("--extra x --group=g --no-dev", folder="/x", project=True)

    assert args.project == ("--extra", "x", "--group", "g", "--no-dev")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "work"
    write_project(
        root,
        "app",
        "1.0",
        requires=("lib", "side"),
        extra='[tool.uv.workspace]\nmembers = ["libs/*"]\n'
        "[tool.uv.sources]\nlib = { workspace = true }\n"
        'side = { path = "../side", editable = true }\n',
    )
    write_project(root / "libs" / "lib", "lib", "1.0")
    write_project(root / "libs" / "unused", "unused", "1.0")
    write_project(tmp_path / "side", "side", "1.0")
    return root


def test_projects_name_what_they_read(workspace: Path) -> None:
    found = read_project(str(workspace / "pyproject.toml"), None, "dependencies_only")

    assert [name for name, _ in found.files] == [
        "libs/lib/pyproject.toml",
        "libs/unused/pyproject.toml",
        "pyproject.toml",
    ]
    assert [name for name, _ in found.folders] == ["../side", "libs/lib"]
    assert (found.name, found.lock) == ("app", None)


def test_installed_projects_are_read_themselves(workspace: Path) -> None:
    found = read_project(str(workspace / "pyproject.toml"), None, "install_project")

    assert "." in dict(found.folders)


def test_members_find_their_workspace(workspace: Path) -> None:
    member = workspace / "libs" / "lib"
    (workspace / "uv.lock").write_text(
        'version = 1\n[[package]]\nname = "lib"\nsource = { editable = "libs/lib" }\n'
    )

    found = read_project(str(member / "pyproject.toml"), None, "dependencies_only")

    assert found.root == str(workspace)
    assert found.lock == str(workspace / "uv.lock")
    assert found.folders == ()


def test_a_missing_pyproject(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match=r"pyproject\.toml"):
        read_project(str(tmp_path / "pyproject.toml"), None, "dependencies_only")


def test_a_pyproject_that_is_no_toml(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project\n")

    with pytest.raises(DefinitionError, match="not TOML"):
        read_project(str(tmp_path / "pyproject.toml"), None, "dependencies_only")
