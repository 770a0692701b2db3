"""The README's example is run as it stands, against a real registry."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def example() -> str:
    found = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert found is not None
    return found.group(1)


def test_the_example_has_about_twenty_lines() -> None:
    assert len(example().strip().splitlines()) <= 22


@pytest.mark.engine
@pytest.mark.index
def test_the_example_builds_pushes_and_is_reused(registry: str, tmp_path: Path) -> None:
    program = tmp_path / "hello.py"
    program.write_text(example().replace("127.0.0.1:5000", registry))
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("print('hello')\n")
    environment = {**os.environ, "IMAGEKIT_REGISTRY_MIRRORS": f"docker.io={registry}"}

    def run() -> list[str]:
        done = subprocess.run(
            [sys.executable, str(program)],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
        )
        return done.stdout.splitlines()

    first = run()
    second = run()

    assert first[0].startswith(f"{registry}/hello:ik1-")
    assert first[1].startswith("sha256:")
    assert any("httpx" in line for line in first[2:])
    assert any(line.startswith("linux/arm64") for line in first[2:])
    assert second == first[:2]  # reused: the same image, and no layers to tell of
