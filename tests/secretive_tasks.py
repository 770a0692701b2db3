"""Tasks that give their secrets away, in every way that a test looks for."""

from __future__ import annotations

import base64
import html
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from imagekit import Image, ReusePolicy, Secret, TaskEnvironment, report
from imagekit.context import ctx
from imagekit.io import File
from imagekit.tracing import group, trace

IMAGE = Image.from_debian_base((3, 11), name="secretive")
TOKEN = Secret("token", group="leaky")
KEY = Secret("leaky-key", mount="/run/secrets/key", as_env_var="LEAKY_KEY_HERE")
#: Of no definition: a caller adds it.
LATE = Secret("late", group="leaky")

env = TaskEnvironment("secretive", image=IMAGE, secrets=[TOKEN, KEY])
pooled = TaskEnvironment(
    "secretive-pooled",
    image=IMAGE,
    secrets=[TOKEN, KEY],
    reusable=ReusePolicy(replicas=2),
)
#: Secrets can be no files in a process of the user's.
plain = TaskEnvironment("secretive-plain", secrets=[TOKEN])


class Told(Exception):  # noqa: N818  (a user's name)
    """An exception that tells."""

    def __init__(self, value: str) -> None:
        super().__init__(f"the token is {value}")
        self.token = value


def values() -> list[str]:
    """Return the secrets that this task has."""
    found = [os.environ["LEAKY_TOKEN"]]
    if "LEAKY_KEY_HERE" in os.environ:
        found.append(os.environ["LEAKY_KEY_HERE"])
        assert Path("/run/secrets/key").read_text() == found[-1]
    if "LEAKY_LATE" in os.environ:
        found.append(os.environ["LEAKY_LATE"])
    return found


def forms(value: str) -> list[str]:
    data = value.encode()
    found = [value, quote(value, safe=""), quote_plus(value), data.hex(), repr(value)]
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        found += [encode(before + data).decode() for before in (b"", b"a", b"ab")]
    return found


def shout(value: str) -> None:
    """Print a value in all forms, on both streams, whole and in pieces."""
    for form in forms(value):
        print("before", form, "after")
        print(form, file=sys.stderr)
        print(form[:5], end="", flush=True)
        print(form[5:], flush=True)
    subprocess.run(["sh", "-c", "cat"], input=value.encode(), check=True)


@trace
def traced(value: str) -> str:
    return value


def passes(value: str, texts: list[str], data: bytes) -> dict[str, Any]:
    print(value)
    return {"value": value, value: texts, "data": data}


async def leaks() -> list[str]:
    """Print, show, pass on, raise and return all secrets."""
    context = ctx()
    assert context is not None
    own = TASKS[context.task_name.partition(".")[0]]
    for value in values():
        shout(value)
        report.log(f"<p>{html.escape(value)} {value}</p>")
        report.get_tab(value).log(quote(value))
        with group(f"with {value}"):
            traced(value)
            await own["passes"].aio(value, forms(value), value.encode())
        with suppress(Told):
            await own["raises"].aio(value)
    return values()


def raises(value: str) -> None:
    told = Told(value)
    told.add_note(f"it is {value}")
    raise told from ValueError(value)


def raises_own() -> None:
    raises(values()[0])


def wrong() -> int:
    return values()[0]  # type: ignore[return-value]  # what the error tells of


def crashes() -> None:
    print("last words:", *values(), flush=True)
    os.abort()


def waits() -> None:
    assert values()
    print("waiting")
    time.sleep(1000)


def late() -> list[str]:
    shout(os.environ["LEAKY_LATE"])
    return values()


def kept(path: str) -> File:
    """Return a file with a secret in it."""
    Path(path).write_text(values()[0])
    return File.from_local(path)


def remembers(value: str) -> str:
    """Return what is not kept, as it holds a secret."""
    return value


#: Tasks of each environment, by name.
TASKS: dict[str, dict[str, Any]] = {
    place.name: {
        "leaks": place.task(report=True)(leaks),
        "remembers": place.task(cache="auto")(remembers),
        **{
            function.__name__: place.task(function)
            for function in (
                *(passes, raises, raises_own, wrong),
                *(crashes, waits, late, kept),
            )
        },
    }
    for place in (env, pooled, plain)
}


@env.task
async def calls_late() -> list[str]:
    """Call a task with a secret that no definition names."""
    task = TASKS["secretive"]["late"].override(secrets=[TOKEN, KEY, LATE])
    found: list[str] = await task.aio()
    return found
