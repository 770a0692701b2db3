"""What is kept out of texts, documents and streams."""

import base64
import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagekit.redaction import RedactedStream, Redactor

SECRET = "p@ss <w>ord'\"/+&1"


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        f"before{SECRET}behind",
        quote(SECRET, safe=""),
        json.dumps({"key": SECRET}),
        repr(SECRET),
        html.escape(SECRET),
        html.escape(SECRET, quote=False),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(f"user:{SECRET}".encode()).decode(),
        base64.urlsafe_b64encode(f"{SECRET}\n".encode()).decode(),
        SECRET.encode().hex(),
    ],
)
def test_forms(written: str) -> None:
    shown = Redactor([SECRET])(written)

    assert "***" in shown
    assert SECRET not in shown
    assert len(shown) < len(written)


def test_lines_of_a_value_of_many_lines() -> None:
    shown = Redactor(["first line\nsecond line\n"])("x second line y")

    assert shown == "x *** y"


def test_documents() -> None:
    redactor = Redactor(["hunter2", "12345"])

    found = redactor.document(
        {"hunter2": ["a hunter2 b", 1, 12345, 0.5, None, True, {"deep": "hunter2"}]}
    )

    assert found == {"***": ["a *** b", 1, "***", 0.5, None, True, {"deep": "***"}]}


def test_no_values_change_nothing() -> None:
    redactor = Redactor(["", ""])
    stream = RedactedStream(redactor)

    assert redactor("text") == "text"
    assert redactor.document({"a": (1, 2)}) == {"a": (1, 2)}
    assert stream.feed(b"data") == b"data"
    assert stream.close() == b""


def test_a_stream_keeps_back_only_what_may_be_a_value() -> None:
    stream = RedactedStream(Redactor(["hunter2-long"]))

    assert stream.feed(b"line\nhun") == b"line\n"
    assert stream.feed(b"gry\n") == b"hungry\n"
    assert stream.feed(b"hunter2-lon") == b""
    assert stream.feed(b"g.") == b"***."
    assert stream.feed(b"hunter") == b""
    assert stream.close() == b"hunter"


def test_a_value_that_becomes_known_later() -> None:
    stream = RedactedStream(Redactor())
    assert stream.feed(b"one") == b"one"

    stream.redactor = Redactor(["hunter2"])

    assert stream.feed(b"hunt") == b""
    assert stream.feed(b"er2") == b"***"


@given(
    st.lists(st.text("abc", min_size=1, max_size=7), max_size=4),
    st.lists(st.text("abc ", max_size=9)),
)
def test_a_stream_shows_what_the_whole_would(
    values: list[str], chunks: list[str]
) -> None:
    redactor = Redactor(values)
    stream = RedactedStream(redactor)

    shown = b"".join(stream.feed(chunk.encode()) for chunk in chunks) + stream.close()

    assert shown.decode() == redactor("".join(chunks))
