"""Exceptions become documents and exceptions again, here and in another process."""

from __future__ import annotations

import asyncio
import json
import pickle
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagekit import errors, task_errors
from imagekit.failures import (
    RemoteTraceback,
    decode_failure,
    encode_failure,
    failure_text,
)
from imagekit.interface import BindingError, Interface
from imagekit.task_errors import CustomError, RuntimeDataValidationError


class SimpleError(Exception):
    pass


class RichError(ValueError):
    def __init__(self, code: int, *, detail: str) -> None:
        super().__init__(f"code {code}: {detail}")
        self.code = code
        self.detail = detail


class SlottedError(Exception):
    __slots__ = ("where",)

    def __init__(self, where: tuple[int, int]) -> None:
        super().__init__()
        self.where = where

    def __str__(self) -> str:
        return f"at {self.where}"


class HungryError(Exception):
    def __new__(cls, *, needed: int) -> Self:
        error = super().__new__(cls)
        error.needed = needed  # type: ignore[attr-defined]
        return error

    def __init__(self, *, needed: int) -> None:
        super().__init__("hungry")


class PickyError(OSError):
    def __new__(cls, word: str, *, extra: int) -> Self:
        return super().__new__(cls, 5, word)

    def __init__(self, word: str, *, extra: int) -> None:
        super().__init__(5, word)


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Group(ExceptionGroup[Exception]):
    pass


class NotPicklable:
    def __reduce__(self) -> Any:
        raise TypeError("never")


class Bomb:
    def __reduce__(self) -> Any:
        return (sys.exit, (1,))


def through(error: BaseException, **options: Any) -> BaseException:
    document = json.loads(json.dumps(encode_failure(error), allow_nan=False))
    return decode_failure(document, **{"remote": False, **options})


def raised(error: BaseException) -> BaseException:
    try:
        throw(error)
    except BaseException as caught:  # noqa: BLE001
        return caught


def throw(error: BaseException) -> NoReturn:
    raise error


ERRORS: list[BaseException] = [
    SimpleError(),
    SimpleError("a", 1, (2.5, None)),
    RichError(3, detail="bad"),
    SlottedError((1, 2)),
    HungryError(needed=3),
    ValueError("\udcff"),
    KeyError("k"),
    OSError("only text"),
    FileNotFoundError(2, "No such file", "a.txt"),
    PermissionError(13, "no", "a", None, "b"),
    BlockingIOError(11, "busy", 5),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    UnicodeEncodeError("ascii", "é", 0, 1, "bad"),
    ImportError("no", name="n", path="/p"),
    SyntaxError("bad", ("f.py", 1, 2, "x =", 1, 3)),
    AttributeError("no", name="n", obj=object()),
    NameError("no", name="n"),
    StopIteration(4),
    SystemExit(3),
    KeyboardInterrupt(),
    asyncio.CancelledError("gone"),
    json.JSONDecodeError("bad", "{", 1),
    ZeroDivisionError("division by zero"),
    RuntimeDataValidationError("m", hint="h", origin="f.py:3"),
    CustomError("m", kind="a.B", hint="h"),
    errors.RegistryError("m", status=503, temporary=True, retry_after=1.5),
    errors.BuildFailedError("m", argv=("a", "b"), exit_code=3, log_tail="log"),
    errors.UnknownBuilderError("x", ("a", "b")),
    errors.SourceNotFoundError("m"),
]


SLOTS = [
    "errno",
    "filename",
    "filename2",
    "strerror",
    "code",
    "value",
    "where",
    "name",
    "path",
    "start",
    "reason",
    "lineno",
    "text",
    "characters_written",
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_exception_is_the_same_again(error: BaseException) -> None:
    found = through(raised(error))

    assert type(found) is type(error)
    assert found.args == error.args
    assert vars(found) == vars(error)
    assert str(found) == str(error)
    for name in SLOTS:
        assert getattr(found, name, None) == getattr(error, name, None)


@pytest.mark.parametrize("name", sorted({*errors.__all__, *task_errors.__all__}))
def test_errors_of_imagekit_keep_what_they_say(name: str) -> None:
    kind: Any = getattr(task_errors, name, None) or getattr(errors, name)
    error = kind.__new__(kind)
    errors.ImageKitError.__init__(error, "message", hint="hint", origin="f.py:1")
    found: Any = through(error)

    assert type(found) is kind
    assert (found.message, found.hint, found.origin) == ("message", "hint", "f.py:1")


def test_an_error_of_binding_is_the_same_again() -> None:
    with pytest.raises(BindingError) as caught:
        Interface.of(raised).bind((), {})

    assert type(through(caught.value)) is BindingError


def test_causes_contexts_and_notes_are_kept() -> None:
    error = SimpleError("top")
    error.__cause__ = RichError(1, detail="cause")
    error.__cause__.__context__ = KeyError("context")
    error.add_note("one")
    error.add_note("two")
    found = through(error)

    assert found.__notes__ == ["one", "two"]
    assert isinstance(found.__cause__, RichError)
    assert found.__suppress_context__
    assert isinstance(found.__cause__.__context__, KeyError)
    assert not found.__cause__.__suppress_context__


def test_raise_from_none_stays_silent() -> None:
    error = SimpleError("top")
    error.__context__ = KeyError("hidden")
    error.__suppress_context__ = True
    found = through(error)

    assert found.__suppress_context__
    assert found.__cause__ is None
    assert "hidden" not in "".join(traceback.format_exception(found))


def test_a_cause_that_is_the_context_too_is_one_exception() -> None:
    try:
        try:
            throw(KeyError("a"))
        except KeyError as inner:
            raise SimpleError("b") from inner
    except SimpleError as error:
        found = through(error)

    assert found.__cause__ is found.__context__ is not None


def test_chains_that_bite_their_tails_come_to_an_end() -> None:
    one, other = SimpleError("one"), SimpleError("other")
    one.__context__, other.__context__ = other, one

    assert str(through(one).__context__) == "other"


def test_long_chains_come_to_an_end() -> None:
    error = first = SimpleError("0")
    for number in range(1, 2000):
        error.__cause__ = SimpleError(str(number))
        error = error.__cause__
    found = through(first, remote=True)

    assert str(found.__cause__) == "1"


def test_groups_are_kept_with_their_members() -> None:
    error = ExceptionGroup("g", [RichError(1, detail="a"), Group("h", [KeyError("k")])])
    error.add_note("note")
    found = through(error)

    assert isinstance(found, ExceptionGroup)
    assert found.message == "g"
    assert found.__notes__ == ["note"]
    assert [type(member) for member in found.exceptions] == [RichError, Group]
    assert found.exceptions[0].detail == "a"  # type: ignore[union-attr]
    assert type(found.exceptions[1].exceptions[0]) is KeyError
    exits = through(BaseExceptionGroup("g", [SystemExit(1)]))
    assert type(exits) is BaseExceptionGroup


def test_a_group_whose_class_is_not_known_is_a_group_still() -> None:
    document = encode_failure(Group("g", [ValueError("a")]))
    document["class"] = "not.there:Group"
    found = decode_failure(document, remote=False)

    assert type(found) is ExceptionGroup
    assert str(found.exceptions[0]) == "a"


def test_what_can_t_be_kept_becomes_its_text() -> None:
    error = SimpleError(NotPicklable(), "x" * 1_000_000)
    vars(error)["lock"] = NotPicklable()
    document = encode_failure(error)
    found: Any = decode_failure(document, remote=False)

    assert len(json.dumps(document)) < 300_000
    assert type(found) is SimpleError
    assert "NotPicklable object" in found.args[0]
    assert found.args[1].startswith("'xxx")
    assert "NotPicklable object" in vars(found)["lock"]


def test_nothing_of_a_failure_is_ever_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Any:
        raise AssertionError("pickled")

    for name in ("dumps", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)

    assert type(through(SimpleError(Bomb()))) is SimpleError


def test_exceptions_that_can_t_be_printed_are_kept() -> None:
    found = through(raised(UnprintableError("a")))

    assert type(found) is UnprintableError
    assert found.args == ("a",)


def test_an_unknown_class_becomes_a_custom_error() -> None:
    document = encode_failure(RichError(1, detail="a"))
    document["class"] = "worker.code:Strange"
    found = decode_failure(document, remote=False)

    assert isinstance(found, CustomError)
    assert found.kind == "worker.code.Strange"
    assert str(found) == "worker.code.Strange: code 1: a"


def test_a_class_that_can_t_be_made_becomes_a_custom_error() -> None:
    found = through(PickyError("word", extra=1))

    assert isinstance(found, CustomError)
    assert found.kind.endswith(".PickyError")
    assert "word" in str(found)


@pytest.mark.parametrize(
    "name", ["os:system", "builtins:dict", "builtins:eval", ":", "x"]
)
def test_what_is_no_exception_is_never_made(name: str) -> None:
    document = encode_failure(SimpleError("a"))
    document["class"] = name

    assert isinstance(decode_failure(document), CustomError)


def test_no_module_is_imported_but_those_that_may_be() -> None:
    document = encode_failure(SimpleError("a"))
    document["class"] = "netrc:NetrcParseError"
    sys.modules.pop("netrc", None)

    assert isinstance(decode_failure(document), CustomError)
    assert "netrc" not in sys.modules
    found = decode_failure(document, modules=["netrc"])
    assert type(found).__name__ == "NetrcParseError"


def test_classes_of_other_processes_may_be_renamed() -> None:
    document = encode_failure(RichError(1, detail="a"), renamed={__name__: "elsewhere"})

    assert document["class"] == "elsewhere:RichError"
    assert isinstance(decode_failure(document), CustomError)
    found = decode_failure(document, renamed={"elsewhere": __name__})
    assert isinstance(found, RichError)


@pytest.mark.parametrize(
    "document",
    [None, 1, [], {}, {"class": 1}, {"class": "builtins:ValueError", "args": 3}],
    ids=str,
)
def test_documents_that_are_none_give_an_error_too(document: Any) -> None:
    assert isinstance(decode_failure(document), BaseException)


keys = st.text("a$:.", max_size=3) | st.sampled_from(
    ["text", "value", "class", "$text", "$class", "$type", "builtins:KeyError"]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | keys,
    lambda inner: st.lists(inner) | st.dictionaries(keys, inner),
    max_leaves=5,
)
KEYS = [
    "class",
    "args",
    "attributes",
    "notes",
    "cause",
    "group",
    "members",
    "traceback",
]


@given(st.dictionaries(st.sampled_from(KEYS), json_values))
def test_no_document_does_harm(document: dict[str, Any]) -> None:
    document.setdefault("class", "builtins:ValueError")

    assert isinstance(decode_failure(document), BaseException)


def fails() -> None:
    deep()


def deep() -> None:
    raise RichError(1, detail="deep")


def test_the_text_shows_the_user_s_lines_and_none_of_imagekit() -> None:
    try:
        Interface.of(fails).bind((1,), {})
    except BindingError as error:
        own = failure_text(encode_failure(error))
    try:
        fails()
    except RichError as error:
        text = failure_text(encode_failure(error))

    assert "line" in text
    assert "in fails\n    deep()" in text
    assert "RichError: code 1: deep" in text
    assert "imagekit/interface.py" not in own
    assert "too many positional arguments" in own


def test_printing_a_remote_error_shows_where_it_was_raised() -> None:
    try:
        try:
            fails()
        except RichError as inner:
            raise SimpleError("outer") from inner
    except SimpleError as error:
        found = through(error, remote=True)
    printed = "".join(traceback.format_exception(found))

    assert isinstance(found.__cause__, RichError)
    assert isinstance(found.__cause__.__cause__, RemoteTraceback)
    assert printed.count("in fails\n    deep()") == 1
    assert printed.rstrip().endswith("SimpleError: outer")
    # It is passed on by one that got it itself: still there, still once.
    again = through(found, remote=True)
    assert isinstance(again.__cause__, RichError)
    assert isinstance(again.__cause__.__cause__, RemoteTraceback)
    assert "".join(traceback.format_exception(again)).count("in fails\n") == 1


SCRIPT = """
import json, sys
from imagekit.failures import encode_failure

class Trouble(Exception):
    def __init__(self, code, *, more):
        super().__init__(code)
        self.more = more

def work():
    try:
        {}["key"]
    except KeyError as error:
        raise Trouble(3, more={1: "a"}) from error

if __name__ == "__main__":
    try:
        work()
    except Trouble as error:
        print(json.dumps(encode_failure(error)))
"""


def test_an_exception_of_another_process_is_the_user_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "troubled.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "troubled.py"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    document = json.loads(done.stdout)

    assert isinstance(decode_failure(document), CustomError)
    monkeypatch.syspath_prepend(tmp_path)
    troubled: Any = __import__("troubled")
    found: Any = decode_failure(document)
    assert type(found) is troubled.Trouble
    assert (found.args, found.more) == ((3,), {1: "a"})
    assert isinstance(found.__cause__, KeyError)
    assert "in work\n" in "".join(traceback.format_exception(found))
    del sys.modules["troubled"]
