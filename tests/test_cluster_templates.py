"""Pod templates of users that are named by tasks, and change while runs go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from calls_in_memory import TASK, Calls

from imagekit.records import replace
from imagekit.task_errors import RuntimeUserError
from imagekit.task_settings import TaskSettings


def template(calls: Calls, priority: str) -> None:
    container = {"name": "primary", "image": "any"}
    spec = {"containers": [container], "priorityClassName": priority}
    metadata = {"metadata": {"name": "base"}}
    calls.api.put({"kind": "PodTemplate", **metadata, "template": {"spec": spec}})


@pytest.mark.parametrize("deployed", ["base", None])
def test_a_template_is_looked_up_for_each_job(
    tmp_path: Path, deployed: str | None
) -> None:
    calls = Calls(tmp_path, TaskSettings(pod_template=deployed))
    settings = replace(calls.settings, pod_template="base")

    def pod() -> Any:
        return calls.deployed.pod(TASK, settings)["spec"]

    with pytest.raises(RuntimeUserError, match="pod template 'base'"):
        pod()
    for priority in ("low", "high"):
        template(calls, priority)
        assert pod()["priorityClassName"] == priority
