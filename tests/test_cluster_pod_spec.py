"""The pod of a task: what settings become, and what users' templates keep."""

from __future__ import annotations

import copy
import functools
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any, cast, get_args

import pytest
from cluster_environments import (
    KINDS_OF_GPUS,
    drawn,
    image_document,
    options_of,
    settings_of,
    task_document,
    template_of,
)
from hypothesis import given
from hypothesis import strategies as st

from imagekit import PodTemplate, Resources, Secret, TaskEnvironment, quantity
from imagekit.cluster.amounts import byte_amount, cpu_amount
from imagekit.cluster.device_names import device_request
from imagekit.cluster.documents import ImageDocument, Json
from imagekit.cluster.k8s_secrets import secret_references
from imagekit.cluster.node_terms import both, rebased_terms
from imagekit.cluster.pod_options import PodOptions
from imagekit.cluster.pod_spec import overridden, task_pod
from imagekit.cluster.primary_container import primary_container, primary_name
from imagekit.cluster.user_template import NAMED, TOKEN_FOLDER, named_template
from imagekit.cluster.variables import literal
from imagekit.environment import checked_template
from imagekit.errors import DefinitionError
from imagekit.records import replace
from imagekit.resources import GPU, TPU, Accelerator, Device
from imagekit.task_errors import DeploymentError, PrimaryContainerNotFoundError
from imagekit.task_settings import TaskSettings

IMAGE = ImageDocument(
    reference="registry.example/team/image@sha256:" + "0" * 64,
    python="python3",
    runtime="/opt/imagekit/runtime",
    code="/opt/imagekit/code",
)
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def pod_of(options: PodOptions | None = None, **settings: Any) -> Json:
    given_settings = TaskSettings(**settings)
    task = task_document(given_settings)
    return task_pod(task, IMAGE, given_settings, options or PodOptions())


def refused(message: str, make: Callable[[], object]) -> DeploymentError:
    with pytest.raises(DeploymentError, match=message) as caught:
        make()
    assert caught.value.hint
    return caught.value


def variables(pod: Json) -> dict[str, Json]:
    found = primary_container(pod)["env"]
    named = {item["name"]: item for item in found}
    assert len(named) == len(found)
    return named


# -- The pod by itself


def test_a_pod_without_settings() -> None:
    pod = pod_of()
    spec = pod["spec"]
    [container] = spec["containers"]
    assert container["name"] == "primary"
    assert container["image"] == IMAGE.reference
    assert container["command"][:3] == ["python3", "-P", "-c"]
    assert "args" not in container
    assert "workingDir" not in container
    assert "resources" not in container
    assert spec["restartPolicy"] == "Never"
    assert spec["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in spec
    assert pod["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "imagekit",
        "imagekit/environment": "training",
        "imagekit/task": "training.step",
    }
    field = {"fieldPath": "metadata.name"}
    assert variables(pod)["IMAGEKIT_POD_NAME"]["valueFrom"] == {"fieldRef": field}


def test_only_the_primary_container_gets_a_token() -> None:
    others = {"containers": [{"name": "proxy", "image": "proxy"}]}
    pod = pod_of(pod_template=PodTemplate(others))
    ours, proxy = pod["spec"]["containers"]
    [mount] = ours["volumeMounts"]
    assert mount["mountPath"] == TOKEN_FOLDER
    assert "volumeMounts" not in proxy
    [volume] = pod["spec"]["volumes"]
    assert volume["name"] == mount["name"]
    token, authority, namespace = volume["projected"]["sources"]
    assert token["serviceAccountToken"]["path"] == "token"
    assert authority["configMap"]["name"] == "kube-root-ca.crt"
    assert namespace["downwardAPI"]["items"][0]["path"] == "namespace"


@pytest.mark.parametrize("name", ["plain", "a $(HOME) it's", 'q"$$é'])
def test_the_command_starts_the_driver(name: str, tmp_path: Path) -> None:
    package = tmp_path / name / "imagekit" / "runtime"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "pod.py").write_text("def main(): print('driver', __file__)\n")
    image = replace(IMAGE, python=sys.executable, runtime=str(tmp_path / name))
    settings = TaskSettings()
    pod = task_pod(task_document(settings), image, settings, PodOptions())
    command = [expanded(item) for item in primary_container(pod)["command"]]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == f"driver {package / 'pod.py'}\n", done.stderr


def test_an_image_that_has_imagekit_needs_no_folder() -> None:
    settings = TaskSettings()
    image = replace(IMAGE, runtime="", workdir="/work")
    pod = task_pod(task_document(settings), image, settings, PodOptions())
    container = primary_container(pod)
    assert container["command"] == ["python3", "-P", "-m", "imagekit.runtime.pod"]
    assert container["workingDir"] == "/work"


def test_what_options_add() -> None:
    options = PodOptions(
        service_account="runner",
        image_pull_secrets=("login", "login", "other"),
        labels=(("team", "blue"),),
        annotations=(("note", "a text"),),
    )
    pod = pod_of(options)
    assert pod["spec"]["serviceAccountName"] == "runner"
    assert pod["spec"]["imagePullSecrets"] == [{"name": "login"}, {"name": "other"}]
    assert pod["metadata"]["labels"]["team"] == "blue"
    assert pod["metadata"]["annotations"]["note"] == "a text"


@given(drawn(options_of))
def test_options_travel_as_json(options: PodOptions) -> None:
    document = json.loads(json.dumps(options.to_json()))
    assert PodOptions.from_json(document) == options
    assert PodOptions.from_json({**document, "of_a_later_version": 1}) == options
    assert PodOptions().to_json() == {}


def test_labels_that_kubernetes_refuses() -> None:
    for pair in (("a b", ""), ("x" * 64, ""), ("A.b/c", ""), ("a", "x y")):
        options = PodOptions(labels=(pair,))
        refused("label", functools.partial(pod_of, options))
    refused("imagekit's", lambda: pod_of(PodOptions(labels=(("imagekit/run", "x"),))))
    large = (("note", "x" * 2**18),)
    refused("annotations of at most", lambda: pod_of(PodOptions(annotations=large)))


# -- Variables


def expanded(text: str) -> str:
    """Return what the kubelet makes of a value; its variables are all unknown.

    The kubelet works on bytes, as this does on text: it takes whatever follows a ``$``.
    """
    found, place = "", 0
    while place < len(text):
        char = text[place]
        following = text[place + 1 : place + 2]
        if char != "$" or not following:
            found, place = found + char, place + 1
        elif following == "$":
            found, place = found + "$", place + 2
        elif following == "(" and ")" in text[place:]:
            end = text.index(")", place)
            found, place = f"{found}<{text[place + 2 : end]}>", end + 1
        else:
            assert following.isascii(), "the kubelet would break the character"
            found, place = found + char + following, place + 2
    return found


@given(st.text(alphabet="$()aé\n ", max_size=12))
def test_values_arrive_as_they_are(text: str) -> None:
    assert expanded(literal(text)) == text


def test_what_the_kubelet_expands() -> None:
    assert expanded("a$(X)b$$(Y)$") == "a<X>b$(Y)$"


def test_variables_are_literal() -> None:
    pod = pod_of(env_vars=(("COST", "$5 or $(COST)"),))
    assert variables(pod)["COST"]["value"] == "$$5 or $$(COST)"


@pytest.mark.parametrize("name", ["1st", "a b", "é", "IMAGEKIT_CALL"])
def test_names_of_variables_that_pods_refuse(name: str) -> None:
    error = refused("environment variable", lambda: pod_of(env_vars=((name, ""),)))
    assert error.origin == "steps.py:7"


# -- Resources


@given(st.integers(1, 2**63 - 1) | st.integers(1, 2**20).map(lambda n: n * 2**30))
def test_bytes_are_exact(count: int) -> None:
    assert quantity.size("memory", byte_amount(count)) == count


@given(st.floats(0, 10**6))
def test_cores_are_rounded_up_to_thousandths(cores: float) -> None:
    found = quantity.cores("cpu", cpu_amount(cores))
    assert cores <= found <= cores + 0.001 + 1e-9


@given(st.integers(0, 10**9))
def test_thousandths_of_cores_are_exact(thousandths: int) -> None:
    text = cpu_amount(quantity.cores("cpu", f"{thousandths}m"))
    assert text in {f"{thousandths}m", str(thousandths / 1000).removesuffix(".0")}


@pytest.mark.parametrize(
    ("cores", "text"), [(1.1, "1100m"), (2, "2"), (0.0005, "1m"), (0, "0")]
)
def test_cores(cores: float, text: str) -> None:
    assert cpu_amount(cores) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (2**30, "1Gi"),
        (10**10, "10G"),
        (2**60, "1Ei"),
        (3 * 2**20, "3Mi"),
        (1500, "1500"),
        (7, "7"),
    ],
)
def test_bytes(count: int, text: str) -> None:
    assert byte_amount(count) == text


def test_requests_and_limits() -> None:
    pod = pod_of(
        resources=Resources(cpu=(0.5, 2), memory=("1Gi", "2Gi"), disk="10G", gpu=2)
    )
    assert primary_container(pod)["resources"] == {
        "requests": {
            "cpu": "500m",
            "memory": "1Gi",
            "ephemeral-storage": "10G",
            "nvidia.com/gpu": "2",
        },
        "limits": {
            "cpu": "2",
            "memory": "2Gi",
            "ephemeral-storage": "10G",
            "nvidia.com/gpu": "2",
        },
    }
    assert "affinity" not in pod["spec"]


@pytest.mark.parametrize(
    ("shm", "volume"),
    [
        ("auto", {"medium": "Memory"}),
        ("64Mi", {"medium": "Memory", "sizeLimit": "64Mi"}),
    ],
)
def test_shared_memory(shm: str, volume: Json) -> None:
    pod = pod_of(resources=Resources(shm=shm))
    [found] = [item for item in pod["spec"]["volumes"] if "emptyDir" in item]
    assert found["emptyDir"] == volume
    mounts = primary_container(pod)["volumeMounts"]
    assert {"name": found["name"], "mountPath": "/dev/shm"} in mounts


def conditions(pod: Json) -> list[Json]:
    [term] = pod["spec"]["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
    return cast("list[Json]", term["matchExpressions"])


@pytest.mark.parametrize("gpu", get_args(Accelerator))
def test_all_kinds_of_gpus_are_known(gpu: Accelerator) -> None:
    kind, _, count = gpu.partition(":")
    assert kind in KINDS_OF_GPUS
    pod = pod_of(resources=Resources(gpu=gpu))
    limits = primary_container(pod)["resources"]["limits"]
    assert limits == {"nvidia.com/gpu": count}
    [condition] = conditions(pod)
    assert condition["key"] == "nvidia.com/gpu.product"
    model = kind.partition(" ")[0].upper()
    assert condition["values"]
    assert all(model in value.split("-") for value in condition["values"])
    [toleration] = pod["spec"]["tolerations"]
    assert toleration["key"] == "nvidia.com/gpu"


def test_kinds_of_gpus_have_no_products_in_common() -> None:
    products = [
        product
        for kind in KINDS_OF_GPUS
        for product in device_request(Device(1, kind), PodOptions()).conditions[0][
            "values"
        ]
    ]
    assert len(set(products)) == len(products)


def test_partitions_of_gpus() -> None:
    pod = pod_of(resources=Resources(gpu=GPU("A100", 2, "1g.5gb")))
    limits = primary_container(pod)["resources"]["limits"]
    assert limits == {"nvidia.com/mig-1g.5gb": "2"}
    assert "NVIDIA-A100-SXM4-40GB" in conditions(pod)[0]["values"]


def test_labels_of_gpus_are_options() -> None:
    resources = Resources(gpu="T4:1")
    gke = PodOptions(
        gpu_label="cloud.google.com/gke-accelerator",
        gpu_products=(("T4", ("nvidia-tesla-t4",)),),
    )
    [condition] = conditions(pod_of(gke, resources=resources))
    assert condition == {
        "key": "cloud.google.com/gke-accelerator",
        "operator": "In",
        "values": ["nvidia-tesla-t4"],
    }
    none = pod_of(PodOptions(gpu_label=""), resources=resources)
    assert "affinity" not in none["spec"]


def test_a_gpu_that_nobody_knows() -> None:
    resources = Resources(gpu=Device(1, "RTX 9"))
    error = refused("'RTX 9'", lambda: pod_of(resources=resources))
    assert error.origin == "steps.py:7"
    known = PodOptions(gpu_products=(("RTX 9", ("NVIDIA-RTX-9",)),))
    pod = pod_of(known, resources=resources)
    assert conditions(pod)[0]["values"] == ["NVIDIA-RTX-9"]


@pytest.mark.parametrize(
    ("tpu", "kind", "topology", "chips"),
    [
        (TPU("V6E", "1x1"), "tpu-v6e-slice", "1x1", "1"),
        (TPU("V6E", "2x4"), "tpu-v6e-slice", "2x4", "8"),
        (TPU("V5P", "2x2x1"), "tpu-v5p-slice", "2x2x1", "4"),
        (TPU("V5P"), "tpu-v5p-slice", "2x2x1", "4"),
    ],
)
def test_tpus(tpu: Device, kind: str, topology: str, chips: str) -> None:
    pod = pod_of(resources=Resources(gpu=tpu))
    limits = primary_container(pod)["resources"]["limits"]
    assert limits == {"google.com/tpu": chips}
    assert pod["spec"]["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": kind,
        "cloud.google.com/gke-tpu-topology": topology,
    }


def test_tpus_of_several_machines_are_refused() -> None:
    resources = Resources(gpu=TPU("V5P", "2x2x2"))
    refused("one machine", lambda: pod_of(resources=resources))


def test_interruptible_pods() -> None:
    pod = pod_of(interruptible=True)
    assert pod["metadata"]["labels"]["imagekit/interruptible"] == "true"
    assert "tolerations" not in pod["spec"]
    options = PodOptions(spot=("example.com/spot", "yes"))
    spot = pod_of(options, interruptible=True, resources=Resources(gpu="L4:1"))
    keys = {item["key"] for item in spot["spec"]["tolerations"]}
    assert keys == {"example.com/spot", "nvidia.com/gpu"}
    nodes = spot["spec"]["affinity"]["nodeAffinity"]
    [preferred] = nodes[PREFERRED]
    assert preferred["preference"]["matchExpressions"][0]["values"] == ["yes"]
    assert conditions(spot)[0]["values"] == ["NVIDIA-L4"]
    assert "tolerations" not in pod_of(options)["spec"]


# -- Secrets


def test_secrets_as_variables() -> None:
    pod = pod_of(
        env_vars=(("PASSWORD", "in the open"), ("X", "1")),
        secrets=(
            Secret("token"),
            Secret("pass.word", group="database", as_env_var="PASSWORD"),
        ),
    )
    found = variables(pod)
    assert found["TOKEN"] == {
        "name": "TOKEN",
        "valueFrom": {"secretKeyRef": {"name": "imagekit", "key": "token"}},
    }
    reference = {"name": "database", "key": "pass.word"}
    assert found["PASSWORD"]["valueFrom"] == {"secretKeyRef": reference}
    assert "value" not in found["PASSWORD"]
    assert "in the open" not in json.dumps(pod)


def test_secrets_as_files() -> None:
    secrets = (
        Secret("cert", group="tls", mount="/etc/ssl/own/cert.pem"),
        Secret("key", group="tls", mount="/etc/ssl/own/key.pem"),
        Secret("key", group="tls", mount="//root/../root/.key"),
        Secret("token", mount="/run/token", as_env_var="TOKEN"),
    )
    pod = pod_of(secrets=secrets)
    [volume] = [v for v in pod["spec"]["volumes"] if v["name"] == "imagekit-secrets"]
    files = {
        item["path"]: (source["secret"]["name"], item["key"])
        for source in volume["projected"]["sources"]
        for item in source["secret"]["items"]
    }
    mounts = {
        mount["mountPath"]: files[mount["subPath"]]
        for mount in primary_container(pod)["volumeMounts"]
        if mount["name"] == volume["name"]
    }
    assert mounts == {
        "/etc/ssl/own/cert.pem": ("tls", "cert"),
        "/etc/ssl/own/key.pem": ("tls", "key"),
        "/root/.key": ("tls", "key"),
        "/run/token": ("imagekit", "token"),
    }
    assert "TOKEN" in variables(pod)
    settings = TaskSettings(secrets=secrets)
    assert secret_references(settings, PodOptions()) == ("imagekit", "tls")
    named = PodOptions(secret_name="all")
    assert secret_references(settings, named) == ("all", "tls")


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        (Secret("token", group="My Group", as_env_var="T"), "'My Group'"),
        (Secret("token", group="my_group"), "'my_group'"),
        (Secret("a/b", as_env_var="T"), "'a/b'"),
        (Secret("..", as_env_var="T"), "'..'"),
        (Secret("token", mount="/proc/1"), "'/proc/1'"),
        (Secret("token", mount="/x/.."), "'/'"),
        (Secret("token", mount="/a:b"), "'/a:b'"),
        (Secret("k", mount=TOKEN_FOLDER), f"'{TOKEN_FOLDER}'"),
        (Secret("k", mount=f"{TOKEN_FOLDER}/token"), f"'{TOKEN_FOLDER}/token'"),
        (Secret("k", mount="/run/secrets"), "'/run/secrets'"),
        (Secret("token", as_env_var="IMAGEKIT_CALL"), "IMAGEKIT_CALL"),
    ],
)
def test_secrets_that_clusters_cannot_have(secret: Secret, message: str) -> None:
    error = refused(re.escape(message), lambda: pod_of(secrets=(secret,)))
    assert error.origin == "steps.py:7"


# -- Templates of users


def assert_holds(found: Any, wanted: Any, where: str = "") -> None:
    """Assert that every leaf of *wanted* is in *found*, in order and once."""
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            assert key in found, f"{where}.{key} is lost"
            assert_holds(found[key], value, f"{where}.{key}")
    elif isinstance(wanted, list):
        places = []
        for index, item in enumerate(wanted):
            fits = [at for at, other in enumerate(found) if holds(other, item)]
            assert len(fits) == 1, f"{where}[{index}] is there {len(fits)} times"
            places += fits
        assert places == sorted(places), f"{where} is in another order"
    else:
        assert found == wanted, f"{where} was {wanted!r} and is {found!r}"


def holds(found: Any, wanted: Any) -> bool:
    try:
        assert_holds(found, wanted)
    except (AssertionError, TypeError):
        return False
    return True


@given(drawn(template_of), drawn(settings_of), drawn(options_of))
def test_nothing_of_a_template_is_lost(
    template: PodTemplate, settings: TaskSettings, options: PodOptions
) -> None:
    task = task_document(settings)
    plain = task_pod(task, IMAGE, replace(settings, pod_template=None), options)
    pod = task_pod(task, IMAGE, replace(settings, pod_template=template), options)
    user = template.to_k8s_pod()
    assert_holds(pod["spec"], user["spec"])
    assert_holds(pod["metadata"], user["metadata"])
    container = primary_container(pod)
    assert container["name"] == template.primary_container_name
    for name in ("image", "command"):
        assert container[name] == primary_container(plain)[name]
    assert set(variables(plain)) <= set(variables(pod))
    for name, value in variables(plain).items():
        assert variables(pod)[name] == value
    assert_unique(pod["spec"])


def assert_unique(spec: Json) -> None:
    names = [item["name"] for item in spec["containers"]]
    assert len(set(names)) == len(names)
    volumes = [item["name"] for item in spec["volumes"]]
    assert len(set(volumes)) == len(volumes)
    for container in spec["containers"]:
        mounts = container.get("volumeMounts", [])
        assert {item["name"] for item in mounts} <= set(volumes)
        paths = [item["mountPath"] for item in mounts]
        assert len(set(paths)) == len(paths)
    for field in ("tolerations", "imagePullSecrets"):
        items = [json.dumps(item, sort_keys=True) for item in spec.get(field, [])]
        assert len(set(items)) == len(items)


def test_settings_win_over_a_template() -> None:
    container = {
        "name": "primary",
        "env": [{"name": "A", "value": "theirs"}, {"name": "B", "value": "$(A)!"}],
        "resources": {"limits": {"cpu": "8", "memory": "1Gi"}},
        "volumeMounts": [
            {"name": "ram", "mountPath": "/dev/shm"},
            {"name": "ram", "mountPath": "/ram"},
        ],
    }
    spec = {
        "containers": [container],
        "volumes": [{"name": "ram", "emptyDir": {"medium": "Memory"}}],
        "nodeSelector": {"cloud.google.com/gke-tpu-topology": "1x1", "disk": "ssd"},
    }
    pod = pod_of(
        env_vars=(("A", "ours"),),
        resources=Resources(cpu=1, shm="1Mi", gpu=TPU("V6E", "2x2")),
        pod_template=PodTemplate(spec),
    )
    found = primary_container(pod)
    names = [item["name"] for item in found["env"]]
    assert sorted(names) == ["A", "B", "IMAGEKIT_POD_NAME"]
    # B refers to A, which has to come first for that.
    assert names.index("A") < names.index("B")
    assert variables(pod)["A"]["value"] == "ours"
    assert variables(pod)["B"]["value"] == "$(A)!"
    assert found["resources"]["limits"] == {
        "cpu": "1",
        "memory": "1Gi",
        "google.com/tpu": "4",
    }
    mounts = {item["mountPath"]: item["name"] for item in found["volumeMounts"]}
    assert mounts["/dev/shm"] == "imagekit-shm"
    assert mounts["/ram"] == "ram"
    assert_unique(pod["spec"])
    assert pod["spec"]["nodeSelector"]["cloud.google.com/gke-tpu-topology"] == "2x2"
    assert pod["spec"]["nodeSelector"]["disk"] == "ssd"


def test_a_template_may_have_another_token() -> None:
    mount = {"name": "mine", "mountPath": TOKEN_FOLDER}
    container = {"name": "primary", "volumeMounts": [mount], "workingDir": "/mine"}
    volumes = [{"name": "mine", "emptyDir": {}}]
    spec = {"containers": [container], "volumes": volumes, "serviceAccountName": "me"}
    options = PodOptions(service_account="runner", labels=(("team", "blue"),))
    template = PodTemplate(spec, labels={"team": "red"})
    pod = pod_of(options, pod_template=template)
    assert primary_container(pod)["volumeMounts"] == [mount]
    assert primary_container(pod)["workingDir"] == "/mine"
    assert pod["spec"]["serviceAccountName"] == "me"
    assert pod["metadata"]["labels"]["team"] == "red"


def test_the_old_name_of_a_service_account_is_one() -> None:
    template = PodTemplate({"serviceAccount": "me"})
    pod = pod_of(PodOptions(service_account="runner"), pod_template=template)
    assert pod["spec"]["serviceAccount"] == "me"
    assert "serviceAccountName" not in pod["spec"]


def test_nodes_satisfy_what_both_want() -> None:
    zones: list[Json] = [
        {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}
        for zone in ("a", "b")
    ]
    none: Json = {}
    required = {REQUIRED: {"nodeSelectorTerms": [*zones, none]}}
    template = PodTemplate({"affinity": {"nodeAffinity": required}})
    pod = pod_of(resources=Resources(gpu="L4:1"), pod_template=template)
    terms = pod["spec"]["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
    gpu = {"key": "nvidia.com/gpu.product", "operator": "In", "values": ["NVIDIA-L4"]}
    wanted = [{"matchExpressions": [*zone["matchExpressions"], gpu]} for zone in zones]
    # No node satisfies an empty term: it has to stay empty.
    assert terms == [*wanted, none]


def test_models_of_the_official_package() -> None:
    from kubernetes import client

    container = client.V1Container(
        name="main", env=[client.V1EnvVar(name="THEIR", value="1")]
    )
    sidecar = client.V1Container(name="proxy", image="proxy:1")
    spec = client.V1PodSpec(containers=[sidecar, container], host_network=True)
    template = PodTemplate(spec, primary_container_name="main")
    pod = pod_of(pod_template=template, env_vars=(("OURS", "2"),))
    assert [item["name"] for item in pod["spec"]["containers"]] == ["proxy", "main"]
    assert pod["spec"]["hostNetwork"] is True
    assert set(variables(pod)) == {"THEIR", "OURS", "IMAGEKIT_POD_NAME"}
    assert pod["metadata"]["annotations"]["imagekit/container"] == "main"


def test_templates_of_the_official_package() -> None:
    from kubernetes import client

    spec = client.V1PodSpec(containers=[client.V1Container(name="main")])
    metadata = client.V1ObjectMeta(labels={"team": "red"}, annotations={"a.lan/b": "c"})
    inner = client.V1PodTemplateSpec(metadata=metadata, spec=spec)
    outer = client.V1ObjectMeta(name="x", annotations={"imagekit/container": "main"})
    whole = client.V1PodTemplate(metadata=outer, template=inner)
    bare = client.V1PodTemplate(template=client.V1PodTemplateSpec(spec=spec))

    labels, annotations = {"team": "red"}, {"a.lan/b": "c"}
    assert checked_template(whole) == PodTemplate(spec, "main", labels, annotations)
    assert checked_template(inner) == PodTemplate(spec, "primary", labels, annotations)
    assert checked_template(bare) == PodTemplate(spec, "primary", {}, {})
    assert checked_template(spec) == PodTemplate(spec)
    env = TaskEnvironment("typed", pod_template=whole)
    assert env.pod_template == checked_template(whole)


@pytest.mark.parametrize(
    "make",
    [
        lambda client: client.V1Container(name="x", args=["y"] * 500),
        lambda client: client.V1PodTemplate(),
        lambda client: client.V1Deployment(spec=client.V1DeploymentSpec(
            selector=client.V1LabelSelector(), template=client.V1PodTemplateSpec()
        )),
        lambda _client: {"spec": ["y"] * 500},
    ],
)  # fmt: skip
def test_what_is_no_template_is_told_by_its_type(make: Callable[[Any], Any]) -> None:
    from kubernetes import client

    value = make(client)
    with pytest.raises(DefinitionError, match=type(value).__name__) as caught:
        checked_template(value)
    assert len(caught.value.message) < 100


@pytest.mark.parametrize(
    ("spec", "where", "found"),
    [
        ({"securityContext": {"supplementalGroups": {1, 2}}},
         "pod_spec.securityContext.supplementalGroups", "'set'"),
        ({"containers": [{"name": b"x"}]}, "pod_spec.containers[0].name", "'bytes'"),
        ({"priority": float("nan")}, "pod_spec.priority", "nan"),
        ({"priority": float("-inf")}, "pod_spec.priority", "-inf"),
        ({"volumes": [{1: "x"}]}, "pod_spec.volumes[0]", "1"),
    ],
)  # fmt: skip
def test_what_no_manifest_can_hold(spec: Json, where: str, found: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        PodTemplate(spec)
    assert where in caught.value.message
    assert caught.value.message.endswith((f"found {found}", f"of the type {found}"))


def test_a_primary_container_that_is_not_there_is_added() -> None:
    spec = {"containers": [{"name": "proxy", "image": "proxy"}]}
    template = PodTemplate(spec, primary_container_name="main")
    pod = pod_of(pod_template=template)
    assert [item["name"] for item in pod["spec"]["containers"]] == ["main", "proxy"]
    assert primary_container(pod)["image"] == IMAGE.reference


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"containers": [{"name": "primary", "image": "x"}]}, "'image'"),
        ({"containers": [{"name": "primary", "command": ["x"]}]}, "'command'"),
        ({"containers": [{"name": "primary", "args": ["x"]}]}, "'args'"),
        ({"restartPolicy": "OnFailure"}, "'OnFailure'"),
        ({"containers": [{"image": "x"}]}, "containers"),
        ({"containers": {"primary": {}}}, "containers"),
        ({"volumes": [{"name": "a"}, {"name": "a"}]}, "volumes"),
        (
            {"containers": [{"name": "x", "env": [{"name": "A"}, {"name": "A"}]}]},
            "env",
        ),
        ({"volumes": [{"name": "imagekit-shm", "emptyDir": {}}]}, "imagekit-shm"),
    ],
)
def test_templates_that_are_refused(spec: Json, message: str) -> None:
    template = PodTemplate(spec)
    error = refused(re.escape(message), lambda: pod_of(pod_template=template))
    assert error.origin == "steps.py:7"


def test_names_in_templates_that_are_refused() -> None:
    refused(
        "'A_b'", lambda: pod_of(pod_template=PodTemplate(primary_container_name="A_b"))
    )
    refused("'No Name'", lambda: pod_of(pod_template="No Name"))
    labels = {"imagekit/run": "mine"}
    refused("imagekit's", lambda: pod_of(pod_template=PodTemplate(labels=labels)))
    spec = {"initContainers": [{"name": "primary", "image": "x"}]}
    with pytest.raises(PrimaryContainerNotFoundError, match="init container"):
        pod_of(pod_template=PodTemplate(spec))


def test_nulls_say_that_nothing_is_set() -> None:
    container = {"name": "primary", "image": None, "env": None}
    spec = {"containers": [container, None], "volumes": None}
    assert pod_of(pod_template=PodTemplate(spec)) == pod_of()


# -- Templates of the cluster


def as_object(template: PodTemplate) -> Json:
    """Return a PodTemplate as the API server has it."""
    pod = copy.deepcopy(template.to_k8s_pod())
    pod["metadata"]["creationTimestamp"] = None
    spec = {"restartPolicy": "Always", **pod["spec"]}
    for container in spec.get("containers", ()):
        container.setdefault("image", "of.nothing/placeholder")
    name = template.primary_container_name
    metadata = {"name": "base", "annotations": {"imagekit/container": name}}
    return {"metadata": metadata, "template": {**pod, "spec": spec}}


@given(drawn(template_of), drawn(settings_of), drawn(options_of))
def test_a_named_template_is_as_good_as_one_at_hand(
    template: PodTemplate, settings: TaskSettings, options: PodOptions
) -> None:
    task = task_document(settings)
    wanted = task_pod(task, IMAGE, replace(settings, pod_template=template), options)
    named = task_pod(task, IMAGE, replace(settings, pod_template="base"), options)
    assert named["metadata"]["annotations"][NAMED] == "base"
    assert named_template(named, as_object(template)) == wanted


def test_a_named_template_without_annotations() -> None:
    pod = pod_of(pod_template="base")
    spec = {"containers": [{"name": "primary", "image": "x", "stdin": True}]}
    found = named_template(
        pod, {"metadata": {"name": "base"}, "template": {"spec": spec}}
    )
    assert primary_container(found)["stdin"] is True
    assert primary_container(found)["image"] == IMAGE.reference
    assert NAMED not in found["metadata"]["annotations"]
    spec = {"containers": [{"name": "primary", "command": ["x"]}]}
    with pytest.raises(DeploymentError, match="'command'") as caught:
        named_template(pod, {"metadata": {"name": "base"}, "template": {"spec": spec}})
    assert "'base'" in "".join(caught.value.__notes__)


# -- Other settings


@given(drawn(settings_of), drawn(settings_of), drawn(options_of))
def test_overriding_gives_what_the_settings_give(
    old: TaskSettings, new: TaskSettings, options: PodOptions
) -> None:
    task = task_document(old)
    image = image_document()
    template = task_pod(task, image, old, options)
    before = copy.deepcopy(template)
    found = overridden(template, task, image, new, options)
    assert found == task_pod(task, image, new, options)
    assert overridden(template, task, image, old, options) == before
    assert template == before


@given(drawn(settings_of), drawn(settings_of), drawn(options_of), drawn(Random.random))
def test_overriding_keeps_what_users_changed(
    old: TaskSettings, new: TaskSettings, options: PodOptions, seed: float
) -> None:
    task = task_document(old)
    image = image_document()
    deployed = changed(task_pod(task, image, old, options), Random(seed))
    found = overridden(deployed, task, image, new, options)
    wanted = changed(task_pod(task, image, new, options), Random(seed))
    assert ordered(defaulted(found)) == ordered(defaulted(wanted))
    assert overridden(deployed, task, image, old, options) == deployed


def changed(pod: Json, random: Random) -> Json:
    """Return *pod* as kustomize might patch it, and the API server completes it."""
    pod = copy.deepcopy(pod)
    spec = pod["spec"]
    container = primary_container(pod)
    patches: list[Callable[[], object]] = [
        lambda: pod["metadata"]["labels"].update({"kustomize": "yes"}),
        lambda: pod["metadata"]["annotations"].update({"kustomize": "yes"}),
        lambda: spec["containers"].append({"name": "zz", "image": "zz"}),
        lambda: spec["containers"].insert(0, {"name": "aa", "image": "aa"}),
        lambda: container["env"].append({"name": "KUSTOM", "value": "1"}),
        lambda: container["env"].insert(0, {"name": "KUSTOM0", "value": "1"}),
        lambda: (
            container.setdefault("resources", {})
            .setdefault("limits", {})
            .update({"example.com/more": "1"})
        ),
        lambda: spec.setdefault("tolerations", []).append({"key": "kustomize"}),
        lambda: spec.setdefault("nodeSelector", {}).update({"kustomize": "yes"}),
        lambda: spec.setdefault("volumes", []).insert(0, {"name": "k"}),
        lambda: add_condition(spec),
        lambda: spec.setdefault("affinity", {}).update({"podAffinity": {"x": []}}),
    ]
    for patch in patches:
        if random.random() < 0.5:
            patch()
    return defaulted(pod) if random.random() < 0.5 else pod


def add_condition(spec: Json) -> None:
    nodes = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    terms = nodes.setdefault(REQUIRED, {}).setdefault("nodeSelectorTerms", [{}])
    for term in terms:
        condition = {"key": "kustomize", "operator": "Exists"}
        term.setdefault("matchExpressions", []).append(condition)


def defaulted(pod: Json) -> Json:
    """Return *pod* as the API server completes it."""
    pod = copy.deepcopy(pod)
    spec = pod["spec"]
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    for container in (*spec["containers"], *spec.get("initContainers", ())):
        container.setdefault("imagePullPolicy", "Always")
        container.setdefault("resources", {})
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        for item in container.get("env", ()):
            if "fieldRef" in item.get("valueFrom", {}):
                item["valueFrom"]["fieldRef"].setdefault("apiVersion", "v1")
    for volume in spec.get("volumes", ()):
        if "projected" in volume:
            volume["projected"].setdefault("defaultMode", 420)
    return pod


def ordered(value: Any) -> Any:
    """Return *value* with lists of objects in some order that is always the same."""
    if isinstance(value, dict):
        return {key: ordered(item) for key, item in value.items()}
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return sorted((ordered(item) for item in value), key=json.dumps)
    return value


def test_overriding_what_users_changed_themselves() -> None:
    old = TaskSettings(resources=Resources(cpu=1, memory="1Gi"))
    task = task_document(old)
    template = task_pod(task, IMAGE, old, PodOptions())
    primary_container(template)["resources"]["limits"]["memory"] = "4Gi"
    new = replace(old, resources=Resources(cpu=2, memory="1Gi"))
    found = overridden(template, task, IMAGE, new, PodOptions())
    limits = primary_container(found)["resources"]["limits"]
    assert limits == {"cpu": "2", "memory": "4Gi"}
    # What somebody took away is not put back, unless it is asked for anew.
    del primary_container(template)["resources"]
    found = overridden(template, task, IMAGE, new, PodOptions())
    resources = primary_container(found)["resources"]
    assert resources == {"limits": {"cpu": "2"}, "requests": {"cpu": "2"}}


def test_overriding_the_name_of_the_container() -> None:
    old = TaskSettings()
    task = task_document(old)
    template = task_pod(task, IMAGE, old, PodOptions())
    primary_container(template)["imagePullPolicy"] = "Always"
    new = TaskSettings(pod_template=PodTemplate(primary_container_name="main"))
    found = overridden(template, task, IMAGE, new, PodOptions())
    assert primary_name(found) == "main"
    [container] = found["spec"]["containers"]
    assert container["imagePullPolicy"] == "Always"


# -- Terms that nodes satisfy

CONDITIONS = st.sampled_from("abcd").map(lambda key: {"key": key})
TERMS = st.lists(
    st.lists(CONDITIONS, max_size=3, unique_by=lambda item: item["key"]).map(
        lambda items: {"matchExpressions": items} if items else {}
    ),
    max_size=3,
)
NODES = [set(keys) for size in range(6) for keys in combinations("abcde", size)]


def fits(terms: list[Json], node: set[str]) -> bool:
    """Return whether a node fits, of which the conditions in *node* are true."""
    return not terms or any(
        term and all(item["key"] in node for item in term["matchExpressions"])
        for term in terms
    )


@given(TERMS, TERMS)
def test_both_terms_are_satisfied(one: list[Json], other: list[Json]) -> None:
    for node in NODES:
        wanted = fits(one, node) and fits(other, node)
        assert fits(both(one, other), node) == wanted


@given(TERMS, TERMS)
def test_terms_change_and_an_added_condition_stays(
    before: list[Json], after: list[Json]
) -> None:
    added = [{"matchExpressions": [{"key": "e"}]}]
    found = rebased_terms(both(before, added), before, after)
    for node in NODES:
        # Where no node fits, there is nothing to add to.
        hopeless = bool(before) and not any(before)
        wanted = fits(after, node) and ("e" in node or hopeless)
        assert fits(found, node) == wanted


def test_without_its_only_condition_a_term_is_for_all_nodes() -> None:
    condition, other = {"key": "a"}, {"key": "z"}
    live = [{"matchExpressions": [condition]}, {"matchExpressions": [condition, other]}]
    assert rebased_terms(live, [{"matchExpressions": [condition]}], []) == []
    none: list[Json] = [{}]
    found = rebased_terms([*none, *live[1:]], [{"matchExpressions": [condition]}], [])
    assert found == [{}, {"matchExpressions": [other]}]


# -- Values of secrets


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str):
        yield value


def test_no_value_of_a_secret_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOKEN", "DATABASE_PASSWORD"):
        monkeypatch.setenv(name, "hunter2")
    secrets = (Secret("token"), Secret("password", group="database", mount="/run/p"))
    pod = pod_of(secrets=secrets)
    assert not any("hunter2" in text for text in texts(pod))
