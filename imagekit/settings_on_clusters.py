"""The part of the table of settings that is about clusters and the pods on them."""

from __future__ import annotations

from imagekit.setting import Setting
from imagekit.settings_kinds import (
    COUNT,
    FILE,
    GPU_LABEL,
    GPU_PRODUCTS,
    PAIR,
    TABLE,
    TEXT,
    TEXTS,
)

ON_CLUSTERS: tuple[Setting, ...] = (
    Setting(
        field="kubeconfig",
        key="kubeconfig",
        kind=FILE,
        default="as `kubectl` finds it",
        example='"clusters/team.yaml"',
        meaning="File that says how Kubernetes is reached.",
    ),
    Setting(
        field="kube_context",
        key="kube-context",
        kind=TEXT,
        default="the current one",
        example='"staging"',
        meaning="Context of the kubeconfig.",
    ),
    Setting(
        field="namespace",
        key="namespace",
        kind=TEXT,
        default="`PROJECT-DOMAIN` where `init()` was given them, else the context's",
        example='"research"',
        meaning="Namespace on Kubernetes of deployments and runs.",
    ),
    Setting(
        field="service_account",
        key="service-account",
        kind=TEXT,
        default="`default`",
        example='"imagekit"',
        meaning="Service account of pods, which has to have the role in "
        "`docs/kubernetes.md`.",
    ),
    Setting(
        field="pull_secrets",
        key="pull-secrets",
        kind=TEXTS,
        default="none",
        example='["registry-login"]',
        meaning="Kubernetes Secrets with which pods pull their images.",
    ),
    Setting(
        field="secret_name",
        key="secret-name",
        kind=TEXT,
        default="`imagekit`",
        example='"team-secrets"',
        meaning="Kubernetes Secret with the secrets that name no group.",
    ),
    Setting(
        field="pod_labels",
        key="pod-labels",
        kind=TABLE,
        default="none",
        example='{ team = "research" }',
        meaning="Labels of pods, unless their templates have others.",
    ),
    Setting(
        field="pod_annotations",
        key="pod-annotations",
        kind=TABLE,
        default="none",
        example='{ "example.com/owner" = "ada" }',
        meaning="Annotations of pods, unless their templates have others.",
    ),
    Setting(
        field="gpu_label",
        key="gpu-label",
        kind=GPU_LABEL,
        default="`nvidia.com/gpu.product`",
        example='"cloud.google.com/gke-accelerator"',
        meaning="Label of nodes that tells the kind of their GPUs; `none` asks for no "
        "kind.",
    ),
    Setting(
        field="gpu_products",
        key="gpu-products",
        kind=GPU_PRODUCTS,
        default="those of NVIDIA's GPU feature discovery, for its label",
        example='{ "T4" = "nvidia-tesla-t4", "L4" = ["nvidia-l4"] }',
        meaning="Kinds of GPUs, and the values of that label that stand for them.",
    ),
    Setting(
        field="spot",
        key="spot",
        kind=PAIR,
        default="none",
        example='"cloud.google.com/gke-spot=true"',
        meaning="Label of nodes that may go away, and of their taint: interruptible "
        "tasks tolerate it, and prefer such nodes.",
    ),
    Setting(
        field="raw_data_path",
        key="raw-data-path",
        kind=TEXT,
        default="none",
        example='"s3://bucket/imagekit"',
        meaning="Where runs on a cluster keep large data: a URL that fsspec knows, a "
        "folder that all pods have, or `pvc://CLAIM/FOLDER`.",
    ),
    Setting(
        field="max_pods",
        key="max-pods",
        kind=COUNT,
        default="`100`",
        example="20",
        meaning="How many Jobs one task on a cluster may have at a time.",
    ),
)
