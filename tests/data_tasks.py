"""Tasks for clusters that hand large data on."""

from __future__ import annotations

import hashlib
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagekit import Image, Resources, Secret, TaskEnvironment
from imagekit.io import Dir, File

IMAGE = Image.from_debian_base(python_version=(3, 11), name="data").with_pip_packages(
    "s3fs", "numpy"
)
SMALL = Resources(cpu=("20m", 1), memory=("64Mi", "512Mi"))

stored = TaskEnvironment(
    "stored",
    image=IMAGE,
    resources=SMALL,
    # Where the store is, each run says.
    env_vars={"AWS_DEFAULT_REGION": "us-east-1"},
    secrets=[
        Secret("id", group="store", as_env_var="AWS_ACCESS_KEY_ID"),
        Secret("key", group="store", as_env_var="AWS_SECRET_ACCESS_KEY"),
    ],
)
shared = TaskEnvironment("shared", image=IMAGE, resources=SMALL)


@dataclass
class Large:
    file: File
    folder: Dir
    array: np.ndarray[Any, Any]


def made(size: int, folder: str) -> Large:
    """Return *size* bytes of each kind, none of which can be compressed."""
    place = Path(folder)
    (place / "inner").mkdir(parents=True)
    for number, name in enumerate(("file", "inner/first", "inner/second")):
        (place / name).write_bytes(random.Random(number).randbytes(size))
    numbers = np.random.default_rng(1).integers(0, 1 << 62, size // 8)
    return Large(
        file=File.from_local(place / "file"),
        folder=Dir.from_local(place / "inner"),
        array=numbers,
    )


def digest(large: Large) -> str:
    """Return a digest of all that is in it."""
    found = hashlib.sha256(Path(large.file).read_bytes())
    for path in sorted(Path(large.folder).iterdir()):
        found.update(path.name.encode() + path.read_bytes())
    found.update(large.array.tobytes())
    return found.hexdigest()


def make(size: int) -> Large:
    return made(size, "/tmp/made")


def check(large: Large) -> str:
    return digest(large)


#: Tasks of each environment, by name.
TASKS: dict[str, dict[str, Any]] = {
    env.name: {task.__name__: env.task(task) for task in (make, check)}
    for env in (stored, shared)
}


@stored.task
async def there_and_back(file: File) -> Large:
    """Hand on what the client sent, in and out of pods, and return as much."""
    large: Large = await TASKS["stored"]["make"].aio(os.stat(file).st_size)
    large.file = file
    assert await TASKS["stored"]["check"].aio(large) == digest(large)
    return large


@shared.task
async def between_pods(size: int) -> str:
    """Have large data made in one pod, and read in another."""
    large = await TASKS["shared"]["make"].aio(size)
    found: str = await TASKS["shared"]["check"].aio(large)
    assert found == digest(large)
    return found


@shared.task
def write(size: int) -> File:
    """Return a file that is larger than what a pod may have in memory."""
    with open("/tmp/file", "wb") as file:
        file.writelines(
            random.Random(number).randbytes(1 << 20) for number in range(size >> 20)
        )
    return File.from_local("/tmp/file")


@shared.task
def read(file: File) -> int:
    return os.stat(file).st_size


@shared.task
async def copies(size: int) -> int:
    """Have a large file made, and read, in pods with little memory."""
    little = Resources(cpu=("20m", 1), memory=("64Mi", "160Mi"))
    file = await write.override(resources=little).aio(size)
    return await read.override(resources=little).aio(file)
