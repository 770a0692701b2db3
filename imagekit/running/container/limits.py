"""Resources as limits that ``docker run`` sets."""

from __future__ import annotations

import os

from imagekit.resources import Device, Resources
from imagekit.task_errors import RuntimeSystemError

_GPUS = frozenset({None, "T4", "A100", "A100 80G", "H100", "L4", "L40s"})


def limit_arguments(resources: Resources | None) -> list[str]:
    """Return the options that give a container *resources*, and no more.

    Swap is part of the memory. Shared memory is part of it, too: ``"auto"`` is half of
    the memory, as Linux would have it, and half of this machine's where there is no
    limit. Disks can't be limited with most of the engine's storage drivers: *disk* is
    for clusters.
    """
    if resources is None:
        return []
    found = []
    if resources.cpu_limit:
        found += ["--cpus", f"{resources.cpu_limit:g}"]
    memory = resources.memory_limit
    if memory:
        found += ["--memory", str(memory), "--memory-swap", str(memory)]
        request = resources.memory_request
        if request and request < memory:
            found += ["--memory-reservation", str(request)]
    shared = resources.shm_bytes
    if shared == "auto":
        shared = (memory or _machine_memory()) // 2
    if shared:
        found += ["--shm-size", str(shared)]
    device = resources.get_device()
    if device is not None:
        found += ["--gpus", str(device.quantity)]
    return found


def check_device(device: Device | None, runtimes: frozenset[str]) -> None:
    """Raise if the engine, which has *runtimes*, can't give a container *device*.

    Raises:
        RuntimeSystemError: it can't.
    """
    if device is None:
        return
    if device.device not in _GPUS or device.partition is not None:
        what = " ".join(filter(None, (device.device, device.partition)))
        raise RuntimeSystemError(
            f"the local engine can't give containers {what!r}",
            hint="it knows whole GPUs only; run the task on a cluster",
        )
    if "nvidia" not in runtimes:
        raise RuntimeSystemError(
            f"the task wants {device.quantity} GPU(s), and the local engine has no "
            f"runtime 'nvidia', only {', '.join(sorted(runtimes))}",
            hint="install the NVIDIA Container Toolkit and restart Docker",
        )


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
