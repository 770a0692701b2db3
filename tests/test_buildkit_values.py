"""Any text gets into an image exactly, or is refused by name: laws, and real builds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from machine.engine import Engine
from recipe_builds import File, host_base, recipe_of, solve

from imagekit import sources
from imagekit.errors import InvalidLayerError, UnsupportedLayerError
from imagekit.ignore import NOTHING
from imagekit.origin import Origin
from imagekit.plan import (
    BaseImage,
    CopyTree,
    InstallAptPackages,
    RunCommands,
    SetEnv,
    SetWorkdir,
)
from imagekit.secret import Secret
from imagekit.sources import Tree
from imagekit.store import Store
from imagekit_buildkit import quoting
from imagekit_buildkit.apt import check_packages

ORIGIN = Origin(file="images.py", line=7, folder="/")

#: What people write on purpose, by mistake, or to break out.
HOSTILE = (
    "two  spaces",
    " at the ends ",
    'a "quoted" word',
    "it's",
    "$HOME",
    "${PATH}",
    "${X:-default} $$ \\$",
    "back\\slash \\n \\",
    "line\nbreak",
    "a\n\nRUN touch /injected\n",
    "\t tab",
    "carriage\rreturn\r",
    "#no comment",
    "# escape=`",
    "ünï ☃ 🐍 \u2028 \u0085 \u00a0",
    "../../..",
    ">=1,<2 || !=3",
    "; touch /injected & | `id` $(id)",
    "--help",
    "-o Dir::Etc=/x",
    "[a-z]* ? {b,c} ~",
    '["json", "list"]',
    "<<EOF",
    "%s%n",
    "\x01\x1b[31m\x7f",
    "=",
    "x" * 70_000,
)

#: Texts with all that means something to parsers and shells, often.
texts = st.text(
    st.sampled_from("\"'$\\{}[]()<>#=:;&|`~*?!-_ \t\n\r/.aZ0é☃") | st.characters(),
    max_size=20,
).filter(lambda text: "\0" not in text and _is_unicode(text))


def _is_unicode(text: str) -> bool:
    return text.encode("utf-8", "ignore").decode() == text


@given(texts)
def test_a_word_is_one_line(text: str) -> None:
    if "\n" in text:
        with pytest.raises(UnsupportedLayerError, match="line break"):
            quoting.word(text)
        return
    word = quoting.word(text)

    assert "\n" not in word
    # What is not between quotes means itself.
    assert word == text or (word[0], word[-1]) == ('"', '"')
    assert not re.search(r'(?<!\\)(\\\\)*["$]', word[1:-1] if word != text else "")


@given(st.lists(texts, min_size=2, max_size=2, unique=True))
def test_different_texts_are_different_words(pair: list[str]) -> None:
    words = [quoting.word(text.replace("\n", "")) for text in pair]

    assert (words[0] == words[1]) == (
        pair[0].replace("\n", "") == pair[1].replace("\n", "")
    )


@given(texts, st.booleans())
def test_a_command_is_said_once(command: str, shell: bool) -> None:
    said = quoting.run(command, shell=shell)
    if said.startswith("RUN ["):
        *program, last = json.loads(said[4:])
        dashes = ["--"] if command[:1] in ("-", "+") else []
        assert [*program, last] == ["/bin/sh", "-c", *dashes, command]
    elif said.startswith("RUN <<"):
        first, _, rest = said.partition("\n")
        end = first[7:-1]
        assert shell
        assert rest == command + end
        assert end not in command.split("\n")
    else:
        assert shell
        assert said == f"RUN {command}"


@given(st.integers(0, 200_000), st.sampled_from(["a", "ab ", "é9", '\\"x$yz']))
@settings(max_examples=20)
def test_long_lines_are_folded(count: int, unit: str) -> None:
    line = "ENV " + unit * count
    can_be = unit != "é9"  # which has letters, but no two of them beside each other
    if can_be or len(line.encode()) <= 60_000:
        folded = quoting.folded(line)

        assert folded.replace("\\\n", "") == line
        assert all(len(part.encode()) < 65_535 for part in folded.split("\n"))
    else:
        with pytest.raises(UnsupportedLayerError, match="no form for a text of"):
            quoting.folded(line)


@pytest.mark.parametrize("text", ["\udcff", "a\0b"])
def test_what_is_no_text_is_refused(text: str) -> None:
    for refused in (quoting.word, quoting.run, quoting.paths):
        with pytest.raises(UnsupportedLayerError, match=r"Unicode|NUL"):
            refused(text)


@pytest.mark.parametrize("path", ["/run/a b", "/run/a,b", "/run/$HOME", '/run/"', "/é"])
def test_secrets_are_mounted_at_plain_paths(bare_base: BaseImage, path: str) -> None:
    step = RunCommands(
        commands=("true",), secret_mounts=(Secret("k", mount=path),), origin=ORIGIN
    )
    with pytest.raises(UnsupportedLayerError, match="nothing can be mounted") as caught:
        recipe_of(bare_base, step)
    assert caught.value.origin == "images.py:7"
    assert repr(path) in caught.value.message


@pytest.mark.parametrize(
    "package",
    [
        "curl",
        "g++",
        "libstdc++6",
        "libc6:arm64",
        "curl=7.88.1-10+deb12u8",
        "curl=1:7.8~rc1",
        "curl=7.88*",
        "curl/bookworm-backports",
        "libc6:arm64=2.36-9",
    ],
)
def test_packages_are_what_apt_takes(package: str) -> None:
    check_packages(InstallAptPackages(packages=(package,)))


@pytest.mark.parametrize(
    "package",
    [
        *HOSTILE[:-1],
        "-o",
        "--allow-unauthenticated",
        "curl-",
        "curl=7-",
        "curl git",
        "curl;id",
        "$(id)",
        "`id`",
        "curl>=7",
        "curl&&id",
        "lib.*",
        "python3-*",
        "server^",
        "./local.deb",
        "/tmp/local.deb",
        "~nvim",
        "?installed",
        "CURL",
        "",
        "curl\n",
    ],
)
def test_what_is_no_package_is_refused_by_name(package: str) -> None:
    step = InstallAptPackages(packages=("less", package), origin=ORIGIN)
    with pytest.raises(InvalidLayerError, match="wanted a Debian package") as caught:
        check_packages(step)
    assert repr(package) in caught.value.message
    assert caught.value.origin == "images.py:7"


@pytest.fixture(scope="module")
def base(base_layout: Path, warm_store: Store) -> BaseImage:
    return host_base(base_layout, warm_store)


@pytest.mark.engine
class TestBuilds:
    """What the engine makes of it."""

    def test_values_of_the_environment(
        self, base: BaseImage, engine: Engine, tmp_path: Path
    ) -> None:
        variables = {f"V{number}": text for number, text in enumerate(HOSTILE)}
        variables |= {"a b": "1", 'q"': "2", "$D": "3", "it's": "4", "#n": "5"}
        variables |= {"--x": "6", "b\\": "7", "ünï": "8", "a.b-c": "9", "1": "10"}
        recipe = recipe_of(
            base,
            SetEnv(variables=tuple(variables.items())),
            RunCommands(commands=("cat /proc/$$/environ > /env",)),
        )

        result = solve(engine, recipe, tmp_path)

        assert {name: result.env[name] for name in variables} == variables
        seen = result.files["env"].content.decode().split("\0")
        found = dict(item.partition("=")[::2] for item in seen)
        assert {name: found.get(name) for name in variables} == variables
        assert "injected" not in result.files

    @given(st.lists(texts, min_size=40, max_size=120))
    @settings(
        max_examples=3,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def test_any_value_of_the_environment(
        self,
        base: BaseImage,
        engine: Engine,
        tmp_path_factory: pytest.TempPathFactory,
        values: list[str],
    ) -> None:
        variables = {f"V{number}": text for number, text in enumerate(values)}
        recipe = recipe_of(base, SetEnv(variables=tuple(variables.items())))

        result = solve(engine, recipe, tmp_path_factory.mktemp("env"))

        assert {name: result.env[name] for name in variables} == variables

    def test_paths_and_names_of_files(
        self, base: BaseImage, engine: Engine, tmp_path: Path
    ) -> None:
        texts = [text.replace("/", "_") for text in HOSTILE if len(text) < 200]
        folder = tmp_path / "files"
        folder.mkdir()
        for text in texts:
            (folder / text).write_text(text)
        tree = sources.walk(str(folder), NOTHING)
        workdirs = [f"/w/{text}" for text in texts if "\n" not in text]
        recipe = recipe_of(
            base,
            *(CopyTree(tree=tree, destination=f"/c/{t}", label="x") for t in texts),
            *(SetWorkdir(path=path) for path in workdirs),
        )
        assert str(tmp_path) not in recipe.dockerfile

        result = solve(engine, recipe, tmp_path)

        files = result.files
        for text in texts:
            for name in texts:
                expected = File("file", 0o644, (0, 0), name.encode())
                assert files[f"c/{text}/{name}"] == expected
        for path in workdirs:
            assert files[path[1:]] == File("folder", 0o755, (0, 0))
        assert result.config["config"]["WorkingDir"] == workdirs[-1]
        assert len(files) == 2 + len(texts) * (1 + len(texts)) + len(workdirs)

    def test_commands(self, base: BaseImage, engine: Engine, tmp_path: Path) -> None:
        """Each command prints what the kernel says of it, and the text in it."""
        quoted = ["'" + text.replace("'", "'\\''") + "'" for text in HOSTILE]
        commands = [
            f"printf %s {word} > /out-{number}; tr '\\0' '|' < /proc/$$/cmdline > "
            f"/cmd-{number}"
            for number, word in enumerate(quoted)
        ]
        commands += [
            "cat > /heredoc <<EOF\n# $HOME\n\n  x \\\n y\nEOF\n",
            "\n\nprintf begin > /begin\n",
            "printf \\\n    continued > /continued",
            "#!/bin/false\nprintf yes > /shebang\n",
            "# a comment only",
            "{ printf brace; } > /brace",
            "[ 1 = 1 ] && printf test > /test",
            "--nothing 2> /dev/null || printf dashes > /dashes",
        ]
        recipe = recipe_of(base, RunCommands(commands=tuple(commands), origin=ORIGIN))

        result = solve(engine, recipe, tmp_path)

        files = result.files
        for number, text in enumerate(HOSTILE):
            assert files[f"out-{number}"].content.decode() == text
            said = files[f"cmd-{number}"].content.decode()
            assert said == f"/bin/sh|-c|{commands[number]}|"
        assert files["heredoc"].content == b"# /root\n\n  x  y\n"
        for name in ("begin", "continued", "brace", "test", "dashes"):
            assert files[name].content.decode() == name
        assert files["shebang"].content == b"yes"
        assert "injected" not in files
        assert [item.origin for item in recipe.instructions if item.command] == [
            ORIGIN
        ] * len(commands)


@pytest.fixture
def bare_base() -> BaseImage:
    from recipe_builds import bare

    return bare()


def test_names_that_are_not_utf8_are_refused(
    bare_base: BaseImage, tmp_path: Path
) -> None:
    (tmp_path / "a\udcff").write_bytes(b"")
    tree: Tree = sources.walk(str(tmp_path), NOTHING)
    step = CopyTree(tree=tree, destination="/x", label="x", origin=ORIGIN)
    with pytest.raises(UnsupportedLayerError, match="UTF-8") as caught:
        recipe_of(bare_base, step)
    assert caught.value.origin == "images.py:7"


def test_line_breaks_where_nothing_can_carry_them_are_refused(
    bare_base: BaseImage,
) -> None:
    for step in (
        SetWorkdir(path="/a\nb", origin=ORIGIN),
        SetEnv(variables=(("a\nb", "c"),), origin=ORIGIN),
        SetEnv(variables=(("a b", "c\nd"),), origin=ORIGIN),
        SetEnv(variables=(("PATH", "c\nd"),), origin=ORIGIN),
    ):
        with pytest.raises(UnsupportedLayerError, match="line break") as caught:
            recipe_of(bare_base, step)
        assert caught.value.origin == "images.py:7"
