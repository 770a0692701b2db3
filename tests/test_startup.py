"""What it costs to start: imports, threads, the time of small commands."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

#: Bytecode is there in any installation; a checkout needs leave to write it.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name != "PYTHONDONTWRITEBYTECODE"
}
#: A busy machine is slower than a quiet one: bounds hold for the fastest of ten runs.
RUNS = 10


def fastest(*words: str) -> float:
    """Return the shortest of some runs of a command, in milliseconds."""
    taken = []
    for _ in range(RUNS):
        began = time.perf_counter()
        subprocess.run(words, check=True, capture_output=True, env=ENVIRONMENT)
        taken.append((time.perf_counter() - began) * 1000)
    return min(taken)


def loaded(statement: str) -> set[str]:
    program = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return set(done.stdout.split())


@pytest.mark.alone
def test_importing_imagekit_costs_less_than_60_ms() -> None:
    bare = fastest(sys.executable, "-c", "pass")

    assert fastest(sys.executable, "-c", "import imagekit") - bare < 60
    assert fastest(sys.executable, "-c", "from imagekit import Image") - bare < 60
    assert fastest(sys.executable, "-c", "from flyte import Image") - bare < 60


@pytest.mark.alone
def test_help_takes_less_than_150_ms() -> None:
    command = Path(sys.executable).parent / "imagekit"

    assert fastest(str(command), "--help") < 150


def test_importing_starts_no_thread_and_loads_nothing_heavy() -> None:
    heavy = {
        "asyncio",
        "concurrent.futures",
        "http.client",
        "importlib.metadata",
        "packaging",
        "rich",
        "socket",
        "ssl",
        "subprocess",
        "tarfile",
        "tomlkit",
        "urllib3",
        "uv",
        "zipfile",
    }
    modules = loaded(
        "import threading; from imagekit import Image; import flyte;"
        "Image.from_debian_base(name='a').with_pip_packages('b').identifier;"
        "assert threading.active_count() == 1"
    )

    assert not heavy & (modules - loaded("import threading"))


def test_the_http_library_comes_without_what_is_for_http_2() -> None:
    modules = loaded("import imagekit.oci.transport")

    assert "urllib3" in modules
    assert not {"importlib.metadata", "urllib3.http2"} & modules


def test_http_2_of_the_library_works_for_others() -> None:
    program = (
        "import imagekit.oci.transport, urllib3.http2, urllib3.connection;"
        "from urllib3.http2 import inject_into_urllib3, probe;"
        "assert probe is urllib3.connection.http2_probe"
    )

    subprocess.run([sys.executable, "-c", program], check=True)


def ours(statement: str) -> set[str]:
    program = f"import sys\n{statement}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return {
        name.removeprefix("imagekit.")
        for name in done.stderr.split()
        if name.partition(".")[0] in ("imagekit", "flyte")
    }


def test_what_is_not_used_is_not_imported() -> None:
    images = {
        *("arguments", "canonical", "digest", "errors", "image", "layers", "origin"),
        *("platform", "records", "reference", "secret", "imagekit"),
    }

    assert ours("import imagekit") == {"imagekit"}
    assert ours("import flyte") == {"flyte", "imagekit"}
    assert ours("from imagekit import Image") == images
    assert ours("from imagekit.cli import main; main(['--help'])") == {
        *("cli", "cli.output", "cli.usage", "errors", "imagekit", "nearest", "records")
    }
    tasks = ours("from imagekit import TaskEnvironment")
    assert not {"image", "building", "run", "running", "interface", "values"} & tasks
