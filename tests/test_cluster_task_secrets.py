"""A secret of a task is nowhere on the cluster but in its Secret and in the task."""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import html
import json
import secrets as random_texts
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import secretive_pods as tasks
from cluster_user import cluster_user
from machine.cluster import Cluster
from task_runs import wait_until
from test_buildkit_secrets import Hidden

from imagekit.cluster import names
from imagekit.run_records import RUNS, RunRecords, RunView

pytestmark = pytest.mark.engine

FILE = Path(tasks.__file__)
#: Pieces of values that are shorter match by chance.
_SHORTEST = 6


@dataclass
class Place:
    """A namespace with the Secrets, and a user who has never seen them."""

    cluster: Cluster
    environ: dict[str, str]
    folder: Path
    values: dict[str, str]
    hidden: Hidden

    @property
    def namespace(self) -> str:
        return self.environ["NAMESPACE"]

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the command, and look into all that it says."""
        done = subprocess.run(
            [sys.executable, "-m", "imagekit", *words],
            capture_output=True,
            text=True,
            env=self.environ,
            timeout=200,
        )
        self.hidden.look(f"stdout of {words}", done.stdout)
        self.hidden.look(f"stderr of {words}", done.stderr)
        return done

    def run(
        self, task: str, name: str, *words: str
    ) -> subprocess.CompletedProcess[str]:
        return self.command(
            *("run", str(FILE), task, "--mode", "remote", "--name", name, *words)
        )

    def view(self, name: str) -> RunView:
        return RunRecords(Path(self.environ["IMAGEKIT_RECORD_DIR"], RUNS)).open(name)

    def digests(self, *keys: str) -> dict[str, str]:
        return {
            key: hashlib.sha256(self.values[key].encode()).hexdigest() for key in keys
        }

    def pods(self) -> list[Any]:
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        found: list[Any] = self.cluster.request("GET", path)["items"]
        return found

    def look_everywhere(self) -> None:
        """Look into all objects but the Secrets, all logs, and all that the user has."""
        looked = self.look_into_objects()
        assert {"configmaps", "podtemplates", "secrets", "events"} <= looked
        for pod in self.pods():
            if pod["metadata"].get("deletionTimestamp"):
                continue  # its log can't be had any more; the command followed it
            name = pod["metadata"]["name"]
            log = self.cluster.log(self.namespace, name)
            self.hidden.look(f"the log of {name}", log)
        self.hidden.look_into_folder(self.folder)

    def look_into_objects(self) -> set[str]:
        """Look into all objects; return which there are."""
        found = set()
        for group, kind in self._kinds():
            path = f"{group}/namespaces/{self.namespace}/{kind}"
            for item in self.cluster.request("GET", path)["items"]:
                found.add(kind)
                if kind != "secrets":
                    self.hidden.look(kind, json.dumps(item))
                    look_into(self.hidden, f"{kind} {item['metadata']['name']}", item)
        return found

    def _kinds(self) -> Iterator[tuple[str, str]]:
        """Yield all kinds of objects that namespaces have."""
        groups = ["/api/v1"] + [
            f"/apis/{group['preferredVersion']['groupVersion']}"
            for group in self.cluster.request("GET", "/apis")["groups"]
        ]
        for group in groups:
            for kind in self.cluster.request("GET", group)["resources"]:
                if kind["namespaced"] and "list" in kind["verbs"]:
                    yield group, kind["name"]


def look_into(hidden: Hidden, where: str, found: Any) -> None:
    """Look into all texts of a document, and what is packed in them."""
    match found:
        case dict():
            for key, item in found.items():
                hidden.look(f"a name in {where}", str(key))
                look_into(hidden, f"{where} {key}", item)
        case list():
            for item in found:
                look_into(hidden, where, item)
        case str():
            _look_into_text(hidden, where, found)
        case _:
            pass  # a number, or nothing


def _look_into_text(hidden: Hidden, where: str, text: str) -> None:
    hidden.look(where, text)
    if text[:1] in {"{", "["}:
        try:
            document = json.loads(text)
        except ValueError:
            return
        look_into(hidden, where, document)
        return
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return
    hidden.look(f"{where}, decoded", data)
    if data.startswith(b"\x1f\x8b"):
        _look_into_text(hidden, f"{where}, unpacked", gzip.decompress(data).decode())


@pytest.fixture
def place(cluster: Cluster, registry: str, tmp_path: Path) -> Iterator[Place]:
    """Make Secrets with values that nobody has seen before."""
    odd = "/+ \u00e9%'\"<&>$(PATH)$$\\"
    values = {
        key: f"{random_texts.token_hex(8)}{odd}{random_texts.token_urlsafe(9)}"
        for key in ("token", "leaky-key", "late")
    }
    lines = [f"{random_texts.token_hex(9)}{odd}", random_texts.token_hex(9)]
    values["lines.pem"] = "\n".join([*lines, "end", ""])
    hidden = Hidden([*values.values(), *lines])
    for number, value in enumerate(hidden.values):
        for name, text in (
            ("json", json.dumps(value)[1:-1]),
            ("json with letters", json.dumps(value, ensure_ascii=False)[1:-1]),
            ("json in json", json.dumps(json.dumps(value)[1:-1])[1:-1]),
            ("repr", repr(value)[1:-1]),
            ("html", html.escape(value)),
        ):
            hidden.forms[f"{name} of value {number}"] = text.encode()
    assert min(map(len, hidden.forms.values())) >= _SHORTEST
    with cluster_user(cluster, registry, tmp_path) as environ:
        groups = {"leaky": ("token", "lines.pem"), "imagekit": ("leaky-key",)}
        for group, keys in {**groups, "late": ("late",)}.items():
            cluster.request(
                "POST",
                f"/api/v1/namespaces/{environ['NAMESPACE']}/secrets",
                {
                    "metadata": {"name": group},
                    "stringData": {key: values[key] for key in keys},
                },
            )
        found = Place(cluster, environ, tmp_path, values, hidden)
        yield found
        found.look_everywhere()
        assert hidden.found == []


def test_what_tasks_tell_is_without_it(place: Place) -> None:
    done = place.run("calls_all", "tells", "--json", "--follow")

    assert done.returncode == 0, done.stderr[-2000:]
    given = place.digests("token", "leaky-key", "lines.pem")
    late = {**given, **place.digests("late")}
    tree = json.loads(done.stdout)["tree"]
    assert [dict(item) for item in tree["outputs"]] == [given, given, given, late]
    found = place.view("tells")
    nodes = [node for _, node in found.tree().walk()]  # type: ignore[union-attr]
    assert {node.name for node in nodes if node.kind == "group"} == {"with ***"}
    assert len([node for node in nodes if node.kind == "trace"]) == 4 * 3 + 1
    failed = [node for node in nodes if node.status == "failed"]
    assert len(failed) == 2
    assert all("the token is ***" in node.error["message"] for node in failed)
    for node in nodes:
        if node.name.endswith((".leaks", ".calls_all")):
            # Of each of its values, those forms that begin and end with it.
            assert found.log(node.id).count(b"before *** after") >= 3 * 5
            assert b"Told: the token is ***" in found.log(node.id)
    for more in ((), ("--logs",), ("--json",)):
        assert place.command("runs", "tells", *more).returncode == 0


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("secretive-root.raises", "the token is ***"),
        ("secretive-root.crashes", "last words: ***"),
    ],
)
def test_errors_do_not_quote_it(place: Place, task: str, says: str) -> None:
    done = place.run(task, "fails")

    assert done.returncode == 1
    assert says in done.stderr
    assert place.view("fails").log() or task.endswith("raises")


def test_what_a_task_returns_is_only_where_it_has_to_be(place: Place) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "imagekit", "run", str(FILE), "returns"),
            *("--mode", "remote", "--name", "returns", "--json"),
        ],
        capture_output=True,
        text=True,
        env=place.environ,
        timeout=200,
    )

    assert done.returncode == 0, done.stderr
    result = f"{names.call_name('returns', 'a0', 0)}.result"
    path = f"/api/v1/namespaces/{place.namespace}/configmaps/{result}"
    document = json.loads(place.cluster.request("GET", path)["data"]["document.json"])
    assert document.pop("output") == [
        place.values[key] for key in ("token", "leaky-key", "lines.pem")
    ]
    look_into(place.hidden, "the rest of the result", document)
    assert place.view("returns").outputs == ["***"] * 3
    place.cluster.request("DELETE", path)


def test_running_pods_do_not_show_it(place: Place) -> None:
    """What a pod is given as a variable, the node's engine knows, and nobody else."""
    engine = place.cluster.engine
    run = threading.Thread(target=place.run, args=("waits", "waits", "--follow"))
    run.start()
    try:
        wait_until(lambda: "waiting" in _logs(place), 100)
        label = f"label=io.kubernetes.pod.namespace={place.namespace}"
        containers = engine.docker("ps", "--quiet", "--filter", label).split()
        assert len(containers) == 2  # with the pod's sandbox
        for container in containers:
            (found,) = json.loads(engine.docker("inspect", container))
            given = found["Config"].pop("Env") or []
            is_task = any(item.startswith("LEAKY_TOKEN=") for item in given)
            assert is_task == (place.values["token"] in "".join(given))
            assert place.values["lines.pem"] not in "".join(given)
            place.hidden.look("docker inspect", json.dumps(found, ensure_ascii=False))
            place.hidden.look("docker top", engine.docker("top", container, "axww"))
            place.hidden.look("docker diff", engine.docker("diff", container))
    finally:
        place.command("cancel", "waits")
        run.join()


def _logs(place: Place) -> str:
    return "".join(
        place.cluster.log(place.namespace, pod["metadata"]["name"])
        for pod in place.pods()
        if pod["status"]["phase"] == "Running"
    )


def test_manifests_do_not_have_it(place: Place, tmp_path: Path) -> None:
    """Not even where the client has the values too."""
    place.environ |= {
        "LEAKY_TOKEN": place.values["token"],
        "LEAKY_KEY": place.values["leaky-key"],
        "LEAKY_LINES_PEM": place.values["lines.pem"],
    }

    shown = place.command("deploy", str(FILE), "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "secretKeyRef" in shown.stdout
    folder = tmp_path / "manifests"
    written = place.command("deploy", str(FILE), "--output", str(folder))
    assert written.returncode == 0, written.stderr
    assert any("secretKeyRef" in file.read_text() for file in folder.iterdir())
    place.hidden.look_into_folder(folder)
    done = place.command("deploy", str(FILE))
    assert done.returncode == 0, done.stderr
    assert place.run("secretive-root.raises", "known").returncode == 1
