"""What ``run()`` and ``with_runcontext()`` take, and what they refuse."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import imagekit
from imagekit import TaskEnvironment
from imagekit.errors import DefinitionError
from imagekit.missing_code import note_missing
from imagekit.records import replace
from imagekit.run import Run
from imagekit.task_errors import DeploymentError

env = TaskEnvironment("arguments")


@env.task
def named(task: str, self: str, args: int = 0) -> list[Any]:
    return [task, self, args]


@env.task
async def calls() -> list[Any]:
    return named(task="a", self="b") + await named.aio(task="c", self="d")


@env.task(report=True)
async def reports() -> None:
    await imagekit.report.log.aio("<p>first</p>", do_flush=True)
    await imagekit.report.replace.aio("<p>second</p>")
    imagekit.report.get_tab("more").log("third")
    await imagekit.report.flush.aio()


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEKIT_RECORD_DIR", str(tmp_path))


def test_inputs_may_have_any_name() -> None:
    done = imagekit.run(named, task="a", self="b", args=1)
    assert isinstance(done, Run)
    assert done.outputs() == ["a", "b", 1]
    assert named(task="a", self="b") == ["a", "b", 0]
    inside = imagekit.run(calls)
    assert isinstance(inside, Run)
    assert inside.outputs() == ["a", "b", 0, "c", "d", 0]


@pytest.mark.parametrize("given", [named.func, 5, None, "arguments.named"])
def test_what_is_no_task_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="wanted a task, found"):
        imagekit.run(given)
    with pytest.raises(TypeError, match="wanted a task, found"):
        asyncio.run(imagekit.run.aio(given))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"copy_style": "some"}, "wanted a copy_style of"),
        ({"env_vars": {"a": 1}}, "an environment variable is a text, found 'a': 1"),
        ({"env_vars": {"a=b": "c"}}, "invalid environment variable 'a=b'"),
        ({"env_vars": ["a"]}, "wanted env_vars as a mapping"),
        ({"labels": {"a": 1}}, "wanted labels as a mapping of texts"),
        ({"annotations": "a"}, "wanted annotations as a mapping of texts"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(arguments: Any, match: str) -> None:
    with pytest.raises(DefinitionError, match=match):
        imagekit.with_runcontext(**arguments)


def test_no_code_needs_a_version() -> None:
    runner = imagekit.with_runcontext("container", copy_style="none")
    with pytest.raises(DeploymentError, match="wanted a version for the code"):
        runner.run(named, "a", "b")


def test_a_runner_tells_the_name_of_its_run() -> None:
    names: list[str] = []
    runner = replace(
        imagekit.with_runcontext(name="mine"),
        begun=lambda record: names.append(record.name),
    )
    runner.run(named, "a", "b")

    assert names == ["mine"]


def test_a_report_may_be_awaited() -> None:
    done = imagekit.run(reports)

    assert isinstance(done, Run)
    page = done.details().report_path().read_text()
    assert "first" not in page
    assert "<p>second</p>" in page
    assert "third" in page


@pytest.mark.parametrize("package", ["imagekit", "flyte"])
def test_modules_of_the_package_need_no_import(package: str) -> None:
    program = (
        f"import sys, {package} as api\n"
        "assert not {'imagekit.report', 'imagekit.io'} & set(sys.modules)\n"
        "print(api.report.log, api.io.File, api.errors.DefinitionError)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("error", "style", "match"),
    [
        (ModuleNotFoundError("no"), "loaded_modules", "import it at the top"),
        (ModuleNotFoundError("no"), "all", "add its package to the image"),
        (ModuleNotFoundError("no"), "none", "PYTHONPATH"),
        (FileNotFoundError(2, "no", "a.txt"), "loaded_modules", "copy_style='all'"),
        (FileNotFoundError(2, "no", "a.txt"), "all", ".dockerignore"),
        (FileNotFoundError(2, "no", "a.txt"), "none", "no files of this machine"),
    ],
)
def test_what_containers_lack_is_noted(
    error: Exception, style: Any, match: str
) -> None:
    note_missing(error, style)

    assert match in error.__notes__[0]


def test_other_errors_need_no_note() -> None:
    for error in (ValueError("a"), FileNotFoundError("made by the user")):
        note_missing(error, "none")
        assert not hasattr(error, "__notes__")
