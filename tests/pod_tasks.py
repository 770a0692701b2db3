"""A task that looks around in its pod, which has all that a pod can be given."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from imagekit import Image, PodTemplate, Resources, TaskEnvironment

ODD = {
    "ODD_DOLLARS": "$(HOME) $$(HOME) $HOME $$ ${HOME} $",
    "ODD_LINES": "one\n\ttwo\r\n  three  ",
    "ODD_QUOTES": "'\"`\\ # : {} [] , & * ! | > % @",
    "ODD_LETTERS": "\u00e9\u2028\U0001f40d",
    "ODD_NUMBER": "012e4567",
    "ODD_EMPTY": "",
}
_BASE = f"{os.environ.get('IMAGEKIT_REGISTRY')}/library/python:3.11-slim-bookworm"
_SHARED = {"name": "between", "mountPath": "/between"}

around = TaskEnvironment(
    "around",
    image=Image.from_debian_base((3, 11), name="around").with_workdir("/srv/work"),
    env_vars=ODD,
    resources=Resources(cpu=("20m", 1), memory=("64Mi", "512Mi"), shm="128Mi"),
    pod_template=PodTemplate(
        primary_container_name="main",
        labels={"team": "test"},
        annotations={"example.com/note": "any $(text)"},
        pod_spec={
            "initContainers": [
                {
                    "name": "before",
                    "image": _BASE,
                    "command": ["sh", "-c", "echo init > /between/init"],
                    "volumeMounts": [_SHARED],
                }
            ],
            "containers": [
                {
                    "name": "main",
                    "env": [{"name": "FROM_TEMPLATE", "value": "yes"}],
                    "volumeMounts": [_SHARED],
                },
                {
                    "name": "beside",
                    "image": _BASE,
                    "command": [
                        "sh",
                        "-c",
                        # Until the task has seen it.
                        "cd /between; touch side; until [ -e seen ]; do sleep 1; done",
                    ],
                    "volumeMounts": [_SHARED],
                },
            ],
            "volumes": [{"name": "between", "emptyDir": {}}],
        },
    ),
)


@dataclass
class Seen:
    variables: dict[str, str | None]
    workdir: str
    shm: int
    shm_kind: str
    between: list[str]


@around.task
def look_around() -> Seen:
    while not Path("/between/side").exists():
        time.sleep(0.05)
    Path("/between/seen").touch()
    shm = os.statvfs("/dev/shm")
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return Seen(
        variables={name: os.environ.get(name) for name in [*ODD, "FROM_TEMPLATE"]},
        workdir=os.getcwd(),
        shm=shm.f_blocks * shm.f_frsize,
        shm_kind=[found[2] for found in mounts if found[1] == "/dev/shm"][-1],
        between=sorted(path.name for path in Path("/between").iterdir()),
    )
