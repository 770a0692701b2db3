"""The Dockerfile language: any text in its place, exactly as it is.

Variables are never expanded, and wildcards never matched. What the language has no
form for is refused by name (BuildKit docs, "Dockerfile reference", Format and
Environment replacement).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from imagekit.errors import UnsupportedLayerError

#: Texts that mean themselves wherever they stand.
_BARE = re.compile(r"[A-Za-z0-9_./@%:,][A-Za-z0-9_./@%:,+=-]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOUNT_VALUE = re.compile(r"[A-Za-z0-9_./@%:+~-]+")
_IN_QUOTES = str.maketrans({'"': '\\"', "\\": "\\\\", "$": "\\$"})
_IN_WORDS = str.maketrans({char: f"\\{char}" for char in "\\\"'$"})

_CONTINUED = " \\\n    "
# The parser takes no line of more than 65535 bytes.
_LONGEST_LINE = 60_000
_FOLD = re.compile(rb"(?<=[A-Za-z0-9])(?=[A-Za-z0-9])")


def word(text: str) -> str:
    r"""Return *text* as one word, for ``ENV``, ``WORKDIR`` and ``USER``.

    >>> print(word("/srv/app"), word("a b$c"))
    /srv/app "a b\$c"

    Raises:
        UnsupportedLayerError: it has a line break, or is no Unicode text.
    """
    _check(text)
    if "\n" in text:
        raise UnsupportedLayerError(
            f"a Dockerfile has no form for the line break in {text!r}",
            hint="leave it out, or use a builder that needs no Dockerfile",
        )
    if _BARE.fullmatch(text):
        return text
    return f'"{text.translate(_IN_QUOTES)}"'


def pair(name: str, value: str) -> str:
    r"""Return a pair for ``ENV``.

    >>> print(pair("GREETING", "it's $5"))
    GREETING="it's \$5"

    Raises:
        UnsupportedLayerError: one of them has a line break, or is no Unicode text.
    """
    return f"{name if _NAME.fullmatch(name) else word(name)}={word(value)}"


def argument_pair(name: str, value: str) -> str:
    """Return ``ARG`` and ``ENV`` for a value that only a build argument can carry.

    The argument has the variable's own name, so that commands see nothing else of it.
    A build without the argument fails, and says so.

    Raises:
        UnsupportedLayerError: no argument can be called *name*.
    """
    _check(value)
    if not _VARIABLE.fullmatch(name):
        raise UnsupportedLayerError(
            f"a Dockerfile has no form for the line break in the value of {name!r}",
            hint="choose a name of letters, digits and '_'",
        )
    return f'ARG {name}\nENV {name}="${{{name}:?needs --build-arg {name}=...}}"'


def paths(*texts: str) -> str:
    r"""Return the arguments of ``COPY`` and ``ADD``.

    Those in a context are names of ours without wildcards; any other may be anything.

    >>> print(paths("source-1/", "/srv/"), paths("source-1/", "/a b/"))
    source-1/ /srv/ ["source-1/", "/a b/"]

    Raises:
        UnsupportedLayerError: one of them is no Unicode text.
    """
    for text in texts:
        _check(text)
    if all(map(_BARE.fullmatch, texts)):
        return " ".join(texts)
    # The words of a JSON list go through the same replacement as any other.
    words = [text.translate(_IN_WORDS) for text in texts]
    return json.dumps(words, ensure_ascii=False)


def mount(kind: str, **options: str) -> str:
    """Return a mount for ``RUN``.

    >>> mount("cache", id="x", target="/var/x")
    '--mount=type=cache,id=x,target=/var/x'

    Raises:
        UnsupportedLayerError: a path has characters that mean something in a mount.
    """
    for option, value in options.items():
        if not _MOUNT_VALUE.fullmatch(value):
            raise UnsupportedLayerError(
                f"nothing can be mounted with {option} {value!r} in a Dockerfile",
                hint="choose a path of letters, digits and _ . / @ % : + ~ -",
            )
    fields = [f"type={kind}", *(f"{name}={value}" for name, value in options.items())]
    return f"--mount={','.join(fields)}"


def run(command: str, mounts: Sequence[str] = (), *, shell: bool = True) -> str:
    r"""Return the ``RUN`` that gives *command*, byte for byte, to ``/bin/sh -c``.

    Args:
        command: a text for the shell.
        mounts: from :func:`mount`.
        shell: whether the shell of the image is ``/bin/sh -c``, so that commands may
            be written as people write them.

    >>> print(run("make all"))
    RUN make all
    >>> print(run("printf '\\n'\ntrue"))
    RUN ["/bin/sh", "-c", "printf '\\n'\ntrue"]

    Raises:
        UnsupportedLayerError: *command* is no Unicode text.
    """
    _check(command)
    start = _CONTINUED.join([*mounts, ""])
    if shell and _is_plain(command):
        return f"RUN {start}{command}"
    if shell and _is_script(command):
        return (
            f"RUN {' '.join([_CONTINUED.join(mounts), '']).lstrip()}{heredoc(command)}"
        )
    argv = ["/bin/sh", "-c", command]
    if command[:1] in ("-", "+"):
        argv.insert(2, "--")  # it is a command, whatever it looks like
    return f"RUN {start}{json.dumps(argv, ensure_ascii=False)}"


def heredoc(text: str) -> str:
    r"""Return *text*, whole lines, as a here-document that expands nothing.

    >>> heredoc("a $b\n")
    '<<"EOF"\na $b\nEOF'
    """
    lines = text.split("\n")
    end = "EOF"
    while end in lines:
        end += "_"
    return f'<<"{end}"\n{text}{end}'


def folded(instruction: str) -> str:
    """Return *instruction* with lines that the parser can take.

    Raises:
        UnsupportedLayerError: a line is too long, and can't be continued on another.
    """
    lines = instruction.encode().split(b"\n")
    if all(len(line) <= _LONGEST_LINE for line in lines):
        return instruction
    return b"\n".join(map(_folded_line, lines)).decode()


def _folded_line(line: bytes) -> bytes:
    pieces = []
    while len(line) > _LONGEST_LINE:
        # Between two letters a line can go on without changing what it says.
        places = [match.start() for match in _FOLD.finditer(line, 0, _LONGEST_LINE)]
        if not places:
            raise UnsupportedLayerError(
                f"a Dockerfile has no form for a text of {len(line)} bytes without "
                f"spaces or letters: {line[:40].decode(errors='replace')!r}...",
                hint="put it into a file, and copy that",
            )
        pieces.append(line[: places[-1]])
        line = line[places[-1] :]
    return b"\\\n".join([*pieces, line])


def _is_plain(command: str) -> bool:
    """Return whether *command* can stand in a line as it is."""
    return (
        command.isprintable()
        and command == command.strip()
        and command[:1] not in ("", "-", "+", "[", "#")
        and not command.endswith("\\")
        and "<<" not in command
    )


def _is_script(command: str) -> bool:
    """Return whether a here-document would have exactly the lines of *command*."""
    lines = command.split("\n")
    return (
        command.endswith("\n")
        and command[0] not in "-+#\n"
        and all(line.replace("\t", "").isprintable() for line in lines)
        and all(len(line.encode()) <= _LONGEST_LINE for line in lines)
    )


def _check(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UnsupportedLayerError(
            f"BuildKit takes Unicode texts only, found {text!r}",
            hint="leave out what is not Unicode",
        ) from error
    if "\0" in text:
        raise UnsupportedLayerError(
            f"no command or variable can hold the NUL in {text!r}",
            hint="leave it out",
        )
