"""Tasks that tests run in containers; this file is in their image, too."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagekit import ReusePolicy, Secret, TaskEnvironment
from imagekit.context import ctx
from imagekit.io import File
from imagekit.tracing import group

env = TaskEnvironment("boxes")
pooled = TaskEnvironment("pooled", reusable=ReusePolicy(replicas=(1, 2)))
shared = TaskEnvironment("shared", reusable=ReusePolicy(replicas=(1, 1), concurrency=8))
secretive = TaskEnvironment(
    "secretive",
    secrets=[
        Secret("token", as_env_var="TOKEN"),
        Secret("cert", mount="/run/secrets/cert.pem"),
    ],
)


@dataclass
class Point:
    x: int
    label: str


class Broken(Exception):  # noqa: N818  (a user's name)
    def __init__(self, code: int) -> None:
        super().__init__(f"broken with {code}")
        self.code = code


@env.task
def add(a: int, b: int) -> int:
    return a + b


@env.task
async def moved(point: Point, by: int) -> Point:
    await asyncio.sleep(0)
    return Point(point.x + by, point.label.upper())


@env.task
def where() -> dict[str, str]:
    context = ctx()
    assert context is not None
    return {
        "action": context.action.name,
        "run": context.action.run_name,
        "attempt": str(context.attempt),
        "task": context.task_name,
        "main": str(sys.modules["__main__"].__file__),
        "path": sys.path[0],
        "cwd": os.getcwd(),
        "greeting": os.environ.get("GREETING", ""),
        "pid": str(os.getpid()),
    }


@env.task
def raises(code: int) -> int:
    raise Broken(code)


@env.task
def leaves(code: int) -> int:
    sys.exit(code)


@env.task
def wrong() -> int:
    return "seven"  # type: ignore[return-value]  # what this test is about


@env.task
def prints(megabytes: int) -> int:
    line = "x" * 999
    for _ in range(megabytes * 1000):
        print(line)
    return megabytes


@env.task
def says(text: str) -> None:
    print(text)
    print(text.upper(), file=sys.stderr)
    subprocess.run(["sh", "-c", f"echo child {text}"], check=True)


@env.task
def takes(megabytes: int) -> int:
    data = bytearray(megabytes << 20)
    for at in range(0, len(data), 4096):
        data[at] = 1
    return len(data)


@env.task
def child_takes(megabytes: int) -> int:
    code = f"x = bytearray({megabytes} << 20)"
    subprocess.run([sys.executable, "-c", code], check=True)
    return 0


@env.task
def dies(number: int) -> int:
    print("about to die")
    os.kill(os.getpid(), number)
    time.sleep(60)
    return 0


@env.task
def crashes() -> int:
    print("before the crash", flush=True)
    ctypes.string_at(0)
    return 0


@env.task
def vanishes(code: int) -> int:
    os._exit(code)


@env.task
def hangs(in_c: bool) -> int:
    print("hanging")
    if in_c:
        # Holds on to the interpreter: no other thread of Python runs.
        ctypes.PyDLL(None).sleep(1000)
    time.sleep(1000)
    return 0


@env.task
async def outer(count: int) -> list[int]:
    with group("all"):
        found = await asyncio.gather(*(add.aio(i, 1) for i in range(count)))
    return list(found)


@env.task
def outer_sync(a: int) -> int:
    return add(a, 1) + add(a, 2)


@env.task
async def catches(code: int) -> str:
    try:
        await raises.aio(code)
    except Broken as error:
        return f"caught {error.code}"
    return "nothing"


@env.task
async def gives_up(seconds: float) -> str:
    try:
        await asyncio.wait_for(hangs.aio(False), seconds)
    except TimeoutError:
        return "gave up"
    return "nothing"


@env.task
def reads(file: File, size: int) -> File:
    path = Path(file.path)
    assert path.stat().st_size == size
    result = Path("/tmp/result.bin")
    with result.open("wb") as out, path.open("rb") as source:
        while chunk := source.read(1 << 20):
            out.write(bytes(reversed(chunk)))
    return File.from_local(str(result))


@env.task(report=True)
def shows(text: str) -> int:
    from imagekit import report

    report.log(f"<b>{text}</b>")
    return 1


@secretive.task
def secrets() -> list[str]:
    file = Path("/run/secrets/cert.pem")
    return [os.environ["TOKEN"], file.read_text(), oct(file.stat().st_mode)]


@pooled.task
def worker_pid(text: str) -> list[str]:
    print(f"says {text}")
    subprocess.run(["sh", "-c", f"echo child {text}"], check=True)
    return [str(os.getpid()), os.uname().nodename]


@pooled.task
def pooled_hangs() -> int:
    print("hanging")
    time.sleep(1000)
    return 0


@pooled.task
def pooled_dies() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
    return 0


@shared.task
async def talks(name: str, lines: int) -> str:
    for number in range(lines):
        print(f"{name} {number}")
        await asyncio.sleep(0.001)
    return os.uname().nodename


@shared.task
async def sleeps(seconds: float) -> str:
    print("sleeping")
    await asyncio.sleep(seconds)
    return "slept"


@shared.task
async def blocks() -> int:
    print("blocking")
    time.sleep(1000)  # noqa: ASYNC251  (what this test is about)
    return 0


def main() -> Any:
    raise AssertionError("a worker does not run this")


if __name__ == "__main__":
    main()
