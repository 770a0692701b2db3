"""``Resources``: how much of a machine a task gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from imagekit import quantity as quantities
from imagekit.errors import DefinitionError
from imagekit.records import dataclass

GPUType: TypeAlias = Literal["T4", "A100", "A100 80G", "H100", "L4", "L40s"]
GPUQuantity: TypeAlias = Literal[1, 2, 3, 4, 5, 6, 7, 8]
A100Partition: TypeAlias = Literal["1g.5gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb"]
A10080GPartition: TypeAlias = Literal[
    "1g.10gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"
]
TPUType: TypeAlias = Literal["V5P", "V6E"]
# fmt: off
V5PPartition: TypeAlias = Literal[
    "2x2x1", "2x2x2", "2x4x4", "4x4x4", "4x4x8", "4x8x8",
    "8x8x8", "8x8x16", "8x16x16", "16x16x16", "16x16x24",
]
V6EPartition: TypeAlias = Literal[
    "1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16"
]
Accelerator: TypeAlias = Literal[
    "T4:1", "T4:2", "T4:3", "T4:4", "T4:5", "T4:6", "T4:7", "T4:8",
    "L4:1", "L4:2", "L4:3", "L4:4", "L4:5", "L4:6", "L4:7", "L4:8",
    "L40s:1", "L40s:2", "L40s:3", "L40s:4", "L40s:5", "L40s:6", "L40s:7", "L40s:8",
    "A100:1", "A100:2", "A100:3", "A100:4", "A100:5", "A100:6", "A100:7", "A100:8",
    "A100 80G:1", "A100 80G:2", "A100 80G:3", "A100 80G:4",
    "A100 80G:5", "A100 80G:6", "A100 80G:7", "A100 80G:8",
    "H100:1", "H100:2", "H100:3", "H100:4", "H100:5", "H100:6", "H100:7", "H100:8",
]
# fmt: on

CPUAmount: TypeAlias = int | float | str

_MOST_GPUS = 8
#: Device → partitions that it can be cut into.
_GPU_PARTITIONS: dict[str, tuple[str, ...]] = {
    "A100": get_args(A100Partition),
    "A100 80G": get_args(A10080GPartition),
    "H100": get_args(A10080GPartition),
}
_TPU_PARTITIONS: dict[str, tuple[str, ...]] = {
    "V5P": get_args(V5PPartition),
    "V6E": get_args(V6EPartition),
}


@dataclass(frozen=True, slots=True)
class Device:
    """Accelerators that a task gets.

    Attributes:
        quantity: how many, at least 1.
        device: their kind, such as ``T4``; None for any.
        partition: part of each, such as ``1g.5gb``.
    """

    quantity: int
    device: str | None = None
    partition: str | None = None

    def __post_init__(self) -> None:
        if not _is_count(self.quantity) or self.quantity < 1:
            raise DefinitionError(
                f"wanted a quantity of at least 1 device, found {self.quantity!r}"
            )


def GPU(  # noqa: N802  (the seeds' name)
    device: GPUType,
    quantity: GPUQuantity,
    partition: A100Partition | A10080GPartition | None = None,
) -> Device:
    """Return GPUs of one kind.

    Raises:
        DefinitionError: there is no such device, quantity, or partition of the device.
    """
    _check_one_of("a GPU", device, get_args(GPUType))
    if not _is_count(quantity) or not 1 <= quantity <= _MOST_GPUS:
        raise DefinitionError(
            f"wanted a quantity of 1 to {_MOST_GPUS} GPUs, found {quantity!r}"
        )
    _check_partition(device, partition, _GPU_PARTITIONS)
    return Device(quantity=quantity, device=device, partition=partition)


def TPU(  # noqa: N802  (the seeds' name)
    device: TPUType, partition: V5PPartition | V6EPartition | None = None
) -> Device:
    """Return a slice of TPUs; its size is that of the partition.

    Raises:
        DefinitionError: there is no such device or partition of the device.
    """
    _check_one_of("a TPU", device, get_args(TPUType))
    _check_partition(device, partition, _TPU_PARTITIONS)
    return Device(quantity=1, device=device, partition=partition)


@dataclass(frozen=True, slots=True)
class Resources:
    """What a task gets of a machine.

    Amounts are as Kubernetes writes them: ``500m`` is half a core, ``1Gi`` is 2**30
    bytes, ``1G`` is 10**9; ``1GiB`` and ``1GB`` mean the same as these.

    Attributes:
        cpu: cores; a pair is what is reserved, and the most that may be used.
        memory: bytes; a pair as for *cpu*.
        gpu: how many GPUs, a kind and a number like ``"T4:1"``, or a device.
        disk: bytes of temporary disk.
        shm: bytes of shared memory; ``"auto"`` for as much as there is.
    """

    cpu: CPUAmount | tuple[CPUAmount, CPUAmount] | None = None
    memory: str | tuple[str, str] | None = None
    gpu: Accelerator | int | Device | None = None
    disk: str | None = None
    shm: str | None = None

    def __post_init__(self) -> None:
        # Each reads what it is about, and says so if that means nothing.
        _pair("cpu", self.cpu, quantities.cores)
        _pair("memory", self.memory, quantities.size)
        _check_gpu(self.gpu)
        _ = self.disk_bytes, self.shm_bytes

    @property
    def cpu_request(self) -> float | None:
        """Cores that are reserved; None if none were asked for."""
        return _pair("cpu", self.cpu, quantities.cores)[0]

    @property
    def cpu_limit(self) -> float | None:
        """The most cores that may be used; None if there is no limit."""
        return _pair("cpu", self.cpu, quantities.cores)[1]

    @property
    def memory_request(self) -> int | None:
        """Bytes of memory that are reserved; None if none were asked for."""
        return _pair("memory", self.memory, quantities.size)[0]

    @property
    def memory_limit(self) -> int | None:
        """The most bytes of memory that may be used; None if there is no limit."""
        return _pair("memory", self.memory, quantities.size)[1]

    @property
    def disk_bytes(self) -> int | None:
        """Bytes of temporary disk; None if none were asked for."""
        return None if self.disk is None else quantities.size("disk", self.disk)

    @property
    def shm_bytes(self) -> int | Literal["auto"] | None:
        """Bytes of shared memory; None if none were asked for."""
        if self.shm is None:
            return None
        return "auto" if self.shm == "auto" else quantities.size("shm", self.shm)

    def get_device(self) -> Device | None:
        """Return the accelerators; None if there are none."""
        if self.gpu is None or isinstance(self.gpu, Device):
            return self.gpu
        if isinstance(self.gpu, int):
            return Device(quantity=self.gpu) if self.gpu else None
        device, _, quantity = self.gpu.partition(":")
        return Device(quantity=int(quantity), device=device)

    def get_shared_memory(self) -> str | None:
        """Return the amount of shared memory; an empty text for ``"auto"``."""
        return "" if self.shm == "auto" else self.shm


_T = TypeVar("_T", int, float)


def _pair(
    what: str, value: Any, read: Callable[[str, object], _T]
) -> tuple[_T | None, _T | None]:
    """Return what is reserved and the limit; one amount is both."""
    if value is None:
        return None, None
    if not isinstance(value, tuple):
        amount = read(what, value)
        return amount, amount
    if len(value) != 2:  # noqa: PLR2004  (a pair)
        raise DefinitionError(
            f"wanted {what} as one amount or a pair of request and limit, "
            f"found {value!r}"
        )
    request, limit = read(what, value[0]), read(what, value[1])
    if request > limit:
        raise DefinitionError(
            f"wanted {what} with a request no larger than its limit, found {value!r}",
            hint=f"write {what}=({value[1]!r}, {value[0]!r})",
        )
    return request, limit


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_gpu(gpu: object) -> None:
    if gpu is None or isinstance(gpu, Device):
        return
    if isinstance(gpu, str) and gpu in get_args(Accelerator):
        return
    if isinstance(gpu, int) and _is_count(gpu) and gpu >= 0:
        return
    raise DefinitionError(
        f"wanted a number of GPUs, a kind and number of them or a device, "
        f"found {gpu!r}",
        hint='write 1, "T4:1" or GPU("A100", 1, "1g.5gb"); the kinds are '
        + ", ".join(get_args(GPUType)),
    )


def _check_one_of(what: str, found: object, known: tuple[str, ...]) -> None:
    if found not in known:
        raise DefinitionError(
            f"wanted {what}, found {found!r}", hint="there are " + ", ".join(known)
        )


def _check_partition(
    device: str, partition: object, known: dict[str, tuple[str, ...]]
) -> None:
    if partition is None:
        return
    parts = known.get(device, ())
    if partition not in parts:
        raise DefinitionError(
            f"wanted a partition of {device!r}, found {partition!r}",
            hint="there are " + ", ".join(parts)
            if parts
            else f"a {device} has no partitions",
        )
