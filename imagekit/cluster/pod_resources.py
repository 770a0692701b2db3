"""Resources of tasks as pods ask for them."""

from __future__ import annotations

from imagekit.cluster.amounts import byte_amount, cpu_amount
from imagekit.cluster.device_names import DeviceRequest, device_request
from imagekit.cluster.documents import Json
from imagekit.cluster.pod_options import PodOptions
from imagekit.resources import Resources

_SHARED_MEMORY = "imagekit-shm"
_SHARED_MEMORY_FOLDER = "/dev/shm"  # noqa: S108  (where programs look for it)


def resource_fields(
    resources: Resources | None, options: PodOptions, origin: str | None
) -> tuple[Json, Json]:
    """Return what *resources* are in a pod's spec, and in its container.

    Raises:
        DeploymentError: no pod can have such accelerators.
    """
    if resources is None:
        return {}, {}
    device = resources.get_device()
    wish = None if device is None else device_request(device, options, origin)
    container: Json = {"resources": _amounts(resources, wish)}
    spec: Json = {} if wish is None else _nodes(wish)
    if resources.shm is not None:
        volume: Json = {"medium": "Memory"}
        if isinstance(resources.shm_bytes, int):
            volume["sizeLimit"] = byte_amount(resources.shm_bytes)
        spec["volumes"] = [{"name": _SHARED_MEMORY, "emptyDir": volume}]
        mount = {"name": _SHARED_MEMORY, "mountPath": _SHARED_MEMORY_FOLDER}
        container["volumeMounts"] = [mount]
    return spec, {key: value for key, value in container.items() if value}


def _amounts(resources: Resources, wish: DeviceRequest | None) -> Json:
    """Return ``requests`` and ``limits``; each has what is not None."""
    disk = None if resources.disk_bytes is None else byte_amount(resources.disk_bytes)
    found = {}
    for which, cores, memory in (
        ("requests", resources.cpu_request, resources.memory_request),
        ("limits", resources.cpu_limit, resources.memory_limit),
    ):
        amounts = {
            "cpu": None if cores is None else cpu_amount(cores),
            "memory": None if memory is None else byte_amount(memory),
            "ephemeral-storage": disk,
        }
        if wish is not None:
            amounts[wish.resource] = str(wish.quantity)
        found[which] = {
            key: value for key, value in amounts.items() if value is not None
        }
    return {which: amounts for which, amounts in found.items() if amounts}


def _nodes(wish: DeviceRequest) -> Json:
    """Return the fields of a pod's spec that choose nodes with the accelerators."""
    found: Json = {
        "tolerations": [
            {"key": wish.taint, "operator": "Exists", "effect": "NoSchedule"}
        ]
    }
    if wish.selector:
        found["nodeSelector"] = dict(wish.selector)
    if wish.conditions:
        term = {"matchExpressions": list(wish.conditions)}
        required = {"nodeSelectorTerms": [term]}
        nodes = {"requiredDuringSchedulingIgnoredDuringExecution": required}
        found["affinity"] = {"nodeAffinity": nodes}
    return found
