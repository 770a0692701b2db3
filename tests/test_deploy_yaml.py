"""Manifests as YAML: what is read back is what was written, by every parser's rules."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from imagekit.cluster.yaml_text import yaml_stream, yaml_text

_WORDS = [
    *("y", "n", "yes", "No", "NO", "on", "Off", "true", "False", "null", "NULL", "~"),
    *("1e3", "12e4567", "0x1f", "0o7", "010", "1_000", "1.5", ".5", ".inf", "-.INF"),
    *(".nan", "2001-01-01", "12:30:45", "=", "<<", "-", "- a", "a: b", "a #b", "#b"),
    *("{a}", "[a]", "&a", "*a", "!a", "%a", "@a", "`a", "'a'", '"a"', "|", ">", "?"),
    *("", " ", " a", "a ", "\t", "---", "...", "\n", "\n\n", "a\n", "a\nb", "a\nb\n"),
    *("a\nb\n\n", "\na\nb", " a\nb", "a\n b", "a\n  \nb", "a\nb ", "a\n ", "a\r\nb"),
    *(
        "a\tb\nc",
        "\x85",
        "\u2028",
        "\ufeffa",
        "a\u2029b\nc",
        "\x7f",
        "\0",
        "é",
        "中\n文",
    ),
    *("😀", "😀\n😀", "---\na", "a\n---\nb", "# a\n# b", "key: |\n  x", "a\n\n\nb"),
]
_texts = (
    st.sampled_from(_WORDS)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
    | st.text("ab \n:-#", max_size=20)
)
_documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | _texts,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4)
    ),
    max_leaves=20,
)


@given(_documents)
def test_a_document_is_read_back_as_it_was(document: Any) -> None:
    assert yaml.safe_load(yaml_text(document)) == document


@given(st.lists(_documents, min_size=1, max_size=4))
def test_documents_are_kept_apart(documents: list[Any]) -> None:
    assert list(yaml.safe_load_all(yaml_stream(documents))) == documents


@pytest.mark.parametrize("word", _WORDS)
def test_texts_stay_texts(word: str) -> None:
    text = yaml_text({"key": word})

    assert yaml.safe_load(text) == {"key": word}
    bare = text.removeprefix("key: ").rstrip("\n")
    # Only what begins with a letter goes without quotes, and no word with a meaning.
    if bare == word:
        assert word[0].isalpha()
        assert word.lower() not in {"y", "n", "yes", "no", "on", "off", "true", "false"}


def test_it_can_be_read() -> None:
    document = {
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": {"name": "ik-task-a", "labels": {"imagekit/version": "12e4567"}},
        "template": {
            "spec": {
                "containers": [
                    {"name": "primary", "image": "ghcr.io/x/y:1", "args": ["-c", "yes"]}
                ],
                "volumes": [],
                "hostNetwork": False,
            }
        },
        "data": {"document.json": json.dumps({"a": 1, "b": []}, indent=2) + "\n"},
    }

    assert (
        yaml_text(document)
        == """\
apiVersion: v1
kind: PodTemplate
metadata:
  name: ik-task-a
  labels:
    imagekit/version: "12e4567"
template:
  spec:
    containers:
    - name: primary
      image: "ghcr.io/x/y:1"
      args:
      - "-c"
      - "yes"
    volumes: []
    hostNetwork: false
data:
  document.json: |2+
    {
      "a": 1,
      "b": []
    }
"""
    )


def test_what_json_can_not_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="found set"):
        yaml_text({"a": {1}})
    with pytest.raises(ValueError, match="JSON"):
        yaml_text({"a": float("nan")})
