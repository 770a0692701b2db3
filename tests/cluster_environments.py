"""Environments, settings and pods of users, drawn at random, for tests of manifests.

They come of a ``random.Random``: of a seed, or of hypothesis.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar, get_args

from hypothesis import strategies as st

from imagekit import PodTemplate, Resources, ReusePolicy, Secret
from imagekit.cluster.documents import (
    EnvironmentDocument,
    ImageDocument,
    Json,
    TaskDocument,
)
from imagekit.cluster.names import template_name
from imagekit.cluster.pod_options import PodOptions
from imagekit.resources import GPU, TPU, Accelerator, GPUType
from imagekit.task_settings import TaskSettings

_T = TypeVar("_T")
_Made = TypeVar("_Made")

PRIMARY = "primary"
_GPU_PARTITIONS = {"A100": "1g.5gb", "A100 80G": "2g.20gb", "H100": "7g.80gb"}


def image_document(random: Random | None = None) -> ImageDocument:
    random = random or Random(0)
    return ImageDocument(
        reference=f"127.0.0.1:5000/team/image@sha256:{random.randbytes(32).hex()}",
        python=random.choice(["python3", "/opt/venv/bin/python"]),
        runtime=random.choice(["/opt/imagekit/runtime", "/odd $(place)/it's", ""]),
        code="/opt/imagekit/code",
        workdir=random.choice([None, "/opt/imagekit/code"]),
    )


def task_document(
    settings: TaskSettings, name: str = "training.step", version: str = "1"
) -> TaskDocument:
    return TaskDocument(
        name=name,
        module="pipeline.steps",
        called="pipeline.steps",
        settings=settings,
        interface={"inputs": [["x", "int"]], "output": "int"},
        defaults={"x": 1},
        is_async=True,
        template=template_name(name, version),
        origin="steps.py:7",
    )


def environment_document(random: Random, number: int = 0) -> EnvironmentDocument:
    name = f"{random.choice(['training', 'serving_all', 'x'])}-{number}"
    version = random.choice([random.randbytes(32).hex(), "v1.2+dirty", "release 7"])
    tasks = tuple(
        task_document(settings_of(random), f"{name}.{task}", version)
        for task in random.sample(
            ["fetch", "train_model", "report"], random.randint(1, 3)
        )
    )
    return EnvironmentDocument(
        name=name,
        version=version,
        code=random.randbytes(32).hex(),
        image=image_document(random),
        tasks=tasks,
        description=_text(random),
    )


def options_of(random: Random) -> PodOptions:
    kinds = tuple((kind, (f"a-{kind[:2]}",)) for kind in get_args(GPUType))
    gpus = [
        ("nvidia.com/gpu.product", ()),
        ("nvidia.com/gpu.product", (("T4", ("tesla-t4",)),)),
        ("example.com/gpu", kinds),
        ("", ()),
    ]
    gpu_label, gpu_products = random.choice(gpus)
    return PodOptions(
        service_account=random.choice(["", "runner"]),
        image_pull_secrets=_some(random, ["registry-login", "other.login"]),
        labels=_pairs(random, ["team", "example.com/cost-centre"], ["a", "b-1", ""]),
        annotations=_pairs(random, ["example.com/note"], ["any text, also longer: é"]),
        secret_name=random.choice(["imagekit", "team.secrets"]),
        gpu_label=gpu_label,
        gpu_products=gpu_products,
        spot=random.choice([None, ("cloud.google.com/gke-spot", "true")]),
    )


def settings_of(random: Random) -> TaskSettings:
    template: str | PodTemplate | None = random.choice([None, None, "base-pod", ""])
    if template == "":
        template = template_of(random)
    return TaskSettings(
        resources=_maybe(random, resources_of),
        env_vars=tuple(sorted(dict(_variables(random)).items())),
        secrets=_some(
            random,
            [
                Secret("token"),
                Secret("password", group="database"),
                Secret("db-user", group="database", as_env_var="USER_NAME"),
                Secret("key.pem", group="tls", mount="/run/secrets/tls/key.pem"),
                Secret("cert.pem", group="tls", mount="/run/secrets/tls/cert.pem"),
                Secret("token", mount="/root/.token", as_env_var="TOKEN_TOO"),
            ],
        ),
        interruptible=random.random() < 0.3,
        reusable=random.choice([None, None, ReusePolicy(2)]),
        pod_template=template,
    )


def resources_of(random: Random) -> Resources:
    gpu: Any = random.choice(["none", "count", "text", "partition", "tpu", "none"])
    match gpu:
        case "count":
            gpu = random.randint(0, 4)
        case "text":
            gpu = random.choice(get_args(Accelerator))
        case "partition":
            kind = random.choice(sorted(_GPU_PARTITIONS))
            made: Callable[..., Any] = GPU
            gpu = made(kind, random.randint(1, 3), _GPU_PARTITIONS[kind])
        case "tpu":
            gpu = random.choice([TPU("V6E", "2x4"), TPU("V5P", "2x2x1"), TPU("V6E")])
        case _:
            gpu = None
    return Resources(
        cpu=random.choice([None, 1, 0.25, "1500m", (0.5, 2), 1.1]),
        memory=random.choice([None, "512Mi", "1.5G", ("1Gi", "2Gi"), "1000001"]),
        gpu=gpu,
        disk=random.choice([None, "10Gi", "1G"]),
        shm=random.choice([None, "auto", "64Mi"]),
    )


def template_of(random: Random, primary: str | None = None) -> PodTemplate:
    """Return a pod template that is at odds with nothing that settings ask for."""
    name = primary or random.choice([PRIMARY, PRIMARY, "main"])
    return PodTemplate(
        pod_spec=user_spec(random, name),
        primary_container_name=name,
        labels=dict(_pairs(random, ["user/label", "app"], ["web", "x.y"])) or None,
        annotations=dict(_pairs(random, ["user/text"], ["{}", "two words"])) or None,
    )


def user_spec(random: Random, primary: str = PRIMARY) -> Json:
    containers = [
        _container(random, name)
        for name in _shuffled(random, ["proxy", "logs"])[: random.randint(0, 2)]
    ]
    if random.random() < 0.8:
        own = _container(random, primary)
        del own["image"]
        containers.insert(random.randint(0, len(containers)), own)
    fields: Json = {
        "containers": containers,
        "initContainers": [_container(random, "prepare")],
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "nodeSelector": {"disk": "ssd", "env": "prod"},
        "imagePullSecrets": [{"name": "registry-login"}, {"name": "mine"}],
        "serviceAccountName": "mine",
        "automountServiceAccountToken": True,
        "terminationGracePeriodSeconds": 5,
        "restartPolicy": "Never",
        "hostAliases": [{"ip": "10.0.0.7", "hostnames": ["a.example", "b.example"]}],
        "securityContext": {"runAsUser": 1000, "fsGroup": 2000},
        "priorityClassName": "low",
        "affinity": _affinity(random),
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app": "web"}},
            }
        ],
        "dnsConfig": {"searches": ["example"], "nameservers": ["10.0.0.1"]},
    }
    chosen = {name: fields[name] for name in _some(random, sorted(fields))}
    # All mounts below are of this volume.
    volumes = [{"name": "shared", "emptyDir": {"sizeLimit": "1Mi"}}]
    if random.random() < 0.5:
        volumes.append({"name": "config", "emptyDir": {}})
    return chosen | {"volumes": volumes}


def _container(random: Random, name: str) -> Json:
    fields: Json = {
        "env": [
            {"name": f"THEIR_{letter}", "value": _text(random)}
            for letter in random.sample("ABC", random.randint(1, 3))
        ],
        "envFrom": [{"configMapRef": {"name": "more", "optional": True}}],
        "volumeMounts": [{"name": "shared", "mountPath": "/their/data"}],
        "resources": {"limits": {"example.com/fpga": "1"}},
        "ports": [{"containerPort": 8080}, {"containerPort": 53, "protocol": "UDP"}],
        "securityContext": {"runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}},
        "imagePullPolicy": "IfNotPresent",
        "workingDir": "/their",
    }
    chosen = {key: fields[key] for key in _some(random, sorted(fields))}
    return {"name": name, "image": "127.0.0.1:5000/theirs:1", **chosen}


def _affinity(random: Random) -> Json:
    terms = [
        {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}
        for zone in random.sample(["a", "b", "c"], random.randint(1, 3))
    ]
    common = {"key": "arch", "operator": "NotIn", "values": ["s390x"]}
    if random.random() < 0.5:
        for term in terms:
            term["matchExpressions"].insert(random.randint(0, 1), common)
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"
    pods = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "web"}}}
    wish = {"weight": 1, "preference": terms[0]}
    return {
        "nodeAffinity": random.choice(
            [
                {required: {"nodeSelectorTerms": terms}},
                {preferred: [wish]},
                {required: {"nodeSelectorTerms": terms}, preferred: [wish]},
            ]
        ),
        "podAntiAffinity": {required: [pods]},
    }


def _variables(random: Random) -> list[tuple[str, str]]:
    names = _some(random, ["LEVEL", "COST", "EMPTY", "lower.case-too"])
    return [(name, _text(random)) for name in names]


def _text(random: Random) -> str:
    pieces = ["$(LEVEL)", "$$", "$", "é", "'", '"', "\n", " ", "{x}", "*"]
    pieces += random.choices(string.ascii_letters, k=3)
    return "".join(random.choices(pieces, k=random.randint(0, 5)))


def _pairs(
    random: Random, names: Sequence[str], values: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    return tuple((name, random.choice(values)) for name in _some(random, names))


def _some(random: Random, items: Sequence[_T]) -> tuple[_T, ...]:
    return tuple(item for item in items if random.random() < 0.5)


def _shuffled(random: Random, items: Sequence[_T]) -> list[_T]:
    return random.sample(items, len(items))


def _maybe(random: Random, make: Callable[[Random], _Made]) -> _Made | None:
    return make(random) if random.random() < 0.8 else None


def drawn(make: Callable[[Random], _Made]) -> st.SearchStrategy[_Made]:
    """Return what *make* makes, of seeds: what hypothesis draws itself is too plain."""
    return st.integers(0, 2**32).map(lambda seed: make(Random(seed)))


KINDS_OF_GPUS = get_args(GPUType)
