"""A secret of a task is nowhere but in the task, in whatever form one looks for it."""

from __future__ import annotations

import html
import json
import secrets as random_texts
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import secretive_tasks as tasks
from machine.engine import Engine
from processes import processes
from task_runs import HERE, Runs, container_runs
from test_buildkit_secrets import Hidden, look_into_engine

from imagekit.run_view import RunView
from imagekit.task_errors import (
    RuntimeDataValidationError,
    TaskInterruptedError,
    WorkerLostError,
)

pytestmark = pytest.mark.engine

FILE = str(HERE / "secretive_tasks.py")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hidden:
    """Values that nobody has seen before, where tasks look for them."""
    values = [
        f"{random_texts.token_hex(8)}/+ \u00e9%'\"<&>{random_texts.token_urlsafe(9)}"
        for _ in range(3)
    ]
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setenv("IMAGEKIT_SECRETS_DIR", str(folder))
    monkeypatch.setenv("LEAKY_TOKEN", values[0])
    (folder / "leaky-key").write_text(f"{values[1]}\n")
    (folder / "leaky_late").write_text(values[2])
    hidden = Hidden(values)
    # As records have it, and pages.
    for number, value in enumerate(values):
        for name, text in (
            ("json", json.dumps(value)[1:-1]),
            ("json with letters", json.dumps(value, ensure_ascii=False)[1:-1]),
            ("repr", repr(value)[1:-1]),
            ("html", html.escape(value)),
        ):
            hidden.forms[f"{name} of value {number}"] = text.encode()
    return hidden


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def runs(
    engine: Engine,
    registry: str,
    tmp_path: Path,
    cache: Path,
    hidden: Hidden,
    temporary: Path,
) -> Iterator[Runs]:
    with container_runs(engine, registry, tmp_path, cache) as found:
        yield found
    # All that was recorded, shown, kept and forgotten in the test.
    hidden.look_into_folder(found.folder)
    hidden.look_into_folder(temporary)
    hidden.look_into_folder(cache)
    hidden.look("what was shown", found.watch.getvalue())
    assert hidden.found == []


PLACES = {"once": "secretive", "reused": "secretive-pooled", "local": "secretive-plain"}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    """Where tasks run."""
    name: str = request.param
    return name


def run(runs: Runs, place: str, task: str, *inputs: Any) -> Any:
    mode = "local" if place == "local" else "container"
    return runs.run(tasks.TASKS[PLACES[place]][task], *inputs, mode=mode)


def view(runs: Runs) -> RunView:
    found = runs.view()
    assert found.root is not None
    return found


def test_what_a_task_tells_is_recorded_without_it(
    runs: Runs, hidden: Hidden, place: str
) -> None:
    count = 1 if place == "local" else 2

    assert run(runs, place, "leaks").outputs() == hidden.values[:count]

    found = view(runs)
    assert found.outputs == ["***"] * count
    nodes = [node for _, node in found.tree().walk()]  # type: ignore[union-attr]
    assert len(nodes) == 1 + count * 4
    assert {node.name for node in nodes if node.kind == "group"} == {"with ***"}
    assert found.log().count(b"before *** after") >= count * 5
    page = found.report_path().read_text()
    assert page.count("<p>*** ***</p>") == count
    told = [node for node in nodes if node.status == "failed"]
    assert len(told) == count
    assert all(node.error["message"] == "the token is ***" for node in told)


def test_a_result_with_a_secret_is_not_kept(
    runs: Runs, hidden: Hidden, place: str
) -> None:
    for _ in range(2):
        run(runs, place, "remembers", hidden.values[0])
        assert view(runs).root.status == "succeeded"  # type: ignore[union-attr]
    for status in ("succeeded", "cached"):
        run(runs, place, "remembers", "no secret")
        assert view(runs).root.status == status  # type: ignore[union-attr]


def test_a_file_with_a_secret_is_kept_as_it_is(
    runs: Runs, hidden: Hidden, tmp_path: Path
) -> None:
    """What tasks hand on in files is theirs; the documentation says so."""
    file = run(runs, "once", "kept", "/tmp/file.txt").outputs()

    with file.open("r") as stream:
        assert stream.read() == hidden.values[0]
    kept = [
        path
        for path in runs.folder.rglob("*")
        if path.is_file() and hidden.values[0].encode() in path.read_bytes()
    ]
    assert {path.relative_to(runs.folder).parts[0] for path in kept} == {
        "blobs",
        "runs",
    }
    assert Path(file.path) in kept
    for path in kept:
        path.unlink()


def test_a_secret_that_only_a_call_names(runs: Runs, hidden: Hidden) -> None:
    assert runs.run(tasks.calls_late).outputs() == hidden.values


@pytest.mark.parametrize("place", ["once", "reused"])
def test_running_containers_do_not_show_it(
    runs: Runs, hidden: Hidden, place: str, temporary: Path, tmp_path: Path
) -> None:
    with runs.running(tasks.TASKS[PLACES[place]]["waits"]) as result:
        runs.watch.wait_for("waiting")
        name = str(runs.watch.started[0].place)
        shown = runs.engine.docker("inspect", name)
        assert json.loads(shown)[0]["Name"] == f"/{name}"
        hidden.look("docker inspect", shown)
        hidden.look("docker ps", runs.engine.docker("ps", "--no-trunc", "--all"))
        hidden.look("docker top", runs.engine.docker("top", name, "axeww"))
        hidden.look("docker diff", runs.engine.docker("diff", name))
        found = processes()
        assert any(name.encode() in process.argv for process in found)
        for process in found:
            hidden.look("arguments of a process", process.argv)
        hidden.look_into_folder(temporary, growing=True)
        look_into_engine(runs.engine, hidden, tmp_path)
        runs.engine.docker("kill", name)
    assert isinstance(result.error, TaskInterruptedError)


# Errors


@pytest.mark.parametrize("place", ["once", "reused"])
def test_errors_do_not_quote_it(runs: Runs, hidden: Hidden, place: str) -> None:
    with pytest.raises(WorkerLostError, match=r"last words: \*\*\* \*\*\*") as raised:
        run(runs, place, "crashes")
    hidden.look("the error", str(raised.value))
    with pytest.raises(RuntimeDataValidationError):
        run(runs, place, "wrong")


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("secretive.raises_own", "Told: the token is ***"),
        ("secretive-plain.raises_own", "Told: the token is ***"),
        ("secretive.wrong", "wanted int, found"),
        ("secretive.crashes", "last words: *** ***"),
        ("secretive.leaks", ""),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_does_not_show_it(
    runs: Runs, hidden: Hidden, task: str, says: str, as_json: bool
) -> None:
    mode = "local" if "plain" in task else "container"
    words = ("run", FILE, task, "--mode", mode, "--name", runs.name(), "--follow")
    with runs.command(*words, *(["--json"] if as_json else [])) as process:
        output, errors = process.communicate(timeout=60)

    assert process.returncode == (0 if task.endswith("leaks") else 1)
    assert says in errors
    hidden.look("stderr", errors)
    if not task.endswith("leaks") or as_json:
        # Without --json, the output is what the task has returned.
        hidden.look("stdout", output)
    for more in ((), ("--logs",), ("--json",)):
        with runs.command("runs", runs.names[-1], *more) as process:
            hidden.look(f"runs {more}", "".join(process.communicate(timeout=60)))
