"""What clusters call accelerators: resources of device plugins, labels of nodes."""

from __future__ import annotations

from imagekit.cluster.documents import Json
from imagekit.cluster.pod_options import PodOptions
from imagekit.records import dataclass
from imagekit.resources import Device
from imagekit.task_errors import DeploymentError

_GPU = "nvidia.com/gpu"
_PARTITION = "nvidia.com/mig-{partition}"
_TPU = "google.com/tpu"
_TPU_KIND = "cloud.google.com/gke-tpu-accelerator"
_TPU_TOPOLOGY = "cloud.google.com/gke-tpu-topology"

# As NVIDIA's GPU feature discovery has them: the driver's names, with "-" for spaces.
# Drivers before 460 left out the maker.
# fmt: off
_PRODUCTS: dict[str, tuple[str, ...]] = {
    "T4": ("Tesla-T4", "NVIDIA-T4"),
    "L4": ("NVIDIA-L4",),
    "L40s": ("NVIDIA-L40S",),
    "A100": (
        "NVIDIA-A100-SXM4-40GB", "NVIDIA-A100-PCIE-40GB",
        "A100-SXM4-40GB", "A100-PCIE-40GB",
    ),
    "A100 80G": (
        "NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-80GB-PCIe", "A100-SXM4-80GB",
    ),
    "H100": ("NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-PCIe", "NVIDIA-H100-NVL"),
}
# fmt: on
#: Kinds of TPUs on GKE.
_TPUS = {"V5P": "tpu-v5p-slice", "V6E": "tpu-v6e-slice"}
#: Slices that one machine has all chips of, the smallest first: topology to chips.
_ONE_MACHINE = {"V5P": {"2x2x1": 4}, "V6E": {"1x1": 1, "2x2": 4, "2x4": 8}}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRequest:
    """How a pod asks for accelerators.

    Attributes:
        resource: name of the resource.
        quantity: how many of it.
        taint: key of the taint that keeps other pods away from such nodes.
        selector: labels of the nodes.
        conditions: on labels of the nodes, as ``matchExpressions``.
    """

    resource: str
    quantity: int
    taint: str
    selector: tuple[tuple[str, str], ...] = ()
    conditions: tuple[Json, ...] = ()


def device_request(
    device: Device, options: PodOptions, origin: str | None = None
) -> DeviceRequest:
    """Return how a pod asks for *device*.

    Raises:
        DeploymentError: nobody knows what nodes call this kind, or no single pod can
            have as many.
    """
    if device.device in _TPUS:
        return _tpu(device.device, device.partition, origin)
    resource = _GPU
    if device.partition is not None:
        resource = _PARTITION.format(partition=device.partition)
    conditions: tuple[Json, ...] = ()
    if device.device is not None and options.gpu_label:
        products = _products(device.device, options, origin)
        condition = {"key": options.gpu_label, "operator": "In", "values": products}
        conditions = (condition,)
    return DeviceRequest(
        resource=resource, quantity=device.quantity, taint=_GPU, conditions=conditions
    )


def _products(kind: str, options: PodOptions, origin: str | None) -> list[str]:
    known = _PRODUCTS if options.gpu_label == PodOptions().gpu_label else {}
    known = known | dict(options.gpu_products)
    if not known.get(kind):
        raise DeploymentError(
            f"wanted a kind of GPU that nodes are known to have, found {kind!r} "
            f"(known: {', '.join(known) or 'none'})",
            hint=f"say what values of the label {options.gpu_label!r} stand for it, "
            "with the setting 'gpu-products'",
            origin=origin,
        )
    return list(known[kind])


def _tpu(kind: str, partition: str | None, origin: str | None) -> DeviceRequest:
    topologies = _ONE_MACHINE[kind]
    topology = next(iter(topologies)) if partition is None else partition
    if topology not in topologies:
        raise DeploymentError(
            f"wanted a slice of {kind} TPUs that one machine has, found {topology!r}: "
            "a task runs in one pod",
            hint=f"there are {', '.join(topologies)}",
            origin=origin,
        )
    return DeviceRequest(
        resource=_TPU,
        quantity=topologies[topology],
        taint=_TPU,
        selector=((_TPU_KIND, _TPUS[kind]), (_TPU_TOPOLOGY, topology)),
    )
