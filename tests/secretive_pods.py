"""Tasks for clusters that give their secrets away, in every way that a test looks for.

None hands one on: what tasks take and return has to be on the cluster as it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import html
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from secretive_tasks import Told, forms

from imagekit import Image, Resources, ReusePolicy, Secret, TaskEnvironment, report
from imagekit.tracing import group, trace

IMAGE = Image.from_debian_base(python_version=(3, 11), name="secretive-pods")
SMALL = Resources(cpu=("20m", 1), memory=("64Mi", "512Mi"))
FOLDER = "/run/secrets/leaky"

TOKEN = Secret("token", group="leaky")
#: A file and a variable, of the Kubernetes Secret that has no group.
KEY = Secret("leaky-key", mount=f"{FOLDER}/key", as_env_var="LEAKY_KEY_HERE")
#: Lines, of which each is a secret.
LINES = Secret("lines.pem", group="leaky", mount=f"{FOLDER}/lines.pem")
#: Of no definition: a caller adds it.
LATE = Secret("late", group="late")
GIVEN: list[str | Secret] = [TOKEN, KEY, LINES]

leaf = TaskEnvironment("secretive-leaf", image=IMAGE, secrets=GIVEN, resources=SMALL)
warm = TaskEnvironment(
    "secretive-warm",
    image=IMAGE,
    secrets=GIVEN,
    resources=SMALL,
    reusable=ReusePolicy(replicas=2),
)
root = TaskEnvironment(
    "secretive-root",
    image=IMAGE,
    secrets=GIVEN,
    resources=SMALL,
    depends_on=[leaf, warm],
)


def values() -> dict[str, str]:
    """Return the secrets that this task has, by key."""
    found = {
        "token": os.environ["LEAKY_TOKEN"],
        "leaky-key": Path(f"{FOLDER}/key").read_text(),
        "lines.pem": Path(f"{FOLDER}/lines.pem").read_text(),
    }
    assert os.environ["LEAKY_KEY_HERE"] == found["leaky-key"]
    if "LATE_LATE" in os.environ:
        found["late"] = os.environ["LATE_LATE"]
    return found


def digests() -> dict[str, str]:
    """Return what shows that the secrets are the right ones."""
    return {
        key: hashlib.sha256(value.encode()).hexdigest()
        for key, value in values().items()
    }


@trace
def traced(value: str) -> str:
    return value


def shout(value: str) -> None:
    """Print a value in all forms, on both streams, whole and in pieces."""
    for form in [*forms(value), json.dumps({value: [value]}), *value.splitlines()]:
        print("before", form, "after")
        print(form, file=sys.stderr)
        print(form[:5], end="", flush=True)
        print(form[5:], flush=True)


def tell() -> None:
    """Print, show, record and raise all secrets."""
    for value in values().values():
        shout(value)
        report.log(f"<p>{html.escape(value)} {value}</p>")
        with group(f"with {value}"):
            traced(value)
        try:
            told = Told(value)
            told.add_note(f"it is {value}")
            raise told from ValueError(value)
        except Told:
            traceback.print_exc()


async def leaks() -> dict[str, str]:
    tell()
    await asyncio.sleep(0)
    return digests()


async def raises() -> None:
    told = Told(" ".join(values().values()))
    told.add_note(f"it is {values()}")
    raise told from ValueError(values()["lines.pem"])


def crashes() -> None:
    print("last words:", *values().values(), flush=True)
    os.abort()


LEAF: dict[str, Any] = {
    task.__name__: leaf.task(report=True)(task) for task in (leaks, raises)
}
WARM: dict[str, Any] = {
    task.__name__: warm.task(report=True)(task) for task in (leaks, raises)
}
root_raises = root.task(raises)
root_crashes = root.task(crashes)


@root.task(report=True)
async def calls_all() -> list[dict[str, str]]:
    """Tell all, and have others do so: in a pod, a warm one, and with one more."""
    tell()
    late = LEAF["leaks"].override(secrets=[*GIVEN, LATE])
    found = await asyncio.gather(
        LEAF["leaks"].aio(),
        WARM["leaks"].aio(),
        late.aio(),
        LEAF["raises"].aio(),
        WARM["raises"].aio(),
        return_exceptions=True,
    )
    *right, lost, lost_too = found
    for error in (lost, lost_too):
        if not isinstance(error, Told):
            raise TypeError(f"not as it was raised: {error!r}")
    return [digests(), *right]  # type: ignore[list-item]  # what fails is no digest


@root.task
async def returns() -> list[str]:
    """Return what the caller is to have."""
    return list(values().values())


@root.task
def waits() -> None:
    assert values()
    print("waiting", flush=True)
    time.sleep(1000)
