"""What runs in a task's pod, beside the task: it has one call run, and tells of it.

It has none of the user's code. The call is read from its object, the worker runs it,
what the task calls is made into Jobs or sent to pools, and the result is written to an
object of its own, with what happened.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from typing import NoReturn

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.in_pod import PodApi
from imagekit.cluster.variables import CALL, POD_NAME
from imagekit.running.cluster.call_here import CallHere
from imagekit.running.cluster.pod_output import Printing
from imagekit.running.cluster.run_here import RunHere
from imagekit.value_blobs import ValueBlobs

#: Seconds for which an API server may be away until a result is lost.
RESULT_PATIENCE = 900.0
#: Exit code of a pod that was told to end before there was a result.
INTERRUPTED = 143


def main() -> NoReturn:
    """Have the call run that this pod is for."""
    api = PodApi()
    with tempfile.TemporaryDirectory(prefix="imagekit-") as folder:
        blobs = ValueBlobs(os.path.join(folder, "blobs"))
        lasting = Cluster(PodApi(patience=RESULT_PATIENCE))
        code = asyncio.run(_run(Cluster(api), lasting, os.environ[CALL], blobs))
    sys.stdout.flush()
    # What imagekit's threads wait for does not matter any more.
    os._exit(code)


async def _run(cluster: Cluster, lasting: Cluster, name: str, blobs: ValueBlobs) -> int:
    """Run a call, unless that was done; return this process's exit code."""
    running = asyncio.current_task()
    assert running is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    try:
        if await asyncio.to_thread(cluster.find, "ConfigMap", names.result_name(name)):
            return 0  # an earlier pod was lost after it had written it
        call = await asyncio.to_thread(_call_here, cluster, lasting, name, blobs)
        await call.run()
        await call.settled()
        call.close()
    except asyncio.CancelledError:
        return INTERRUPTED
    return 0


def _call_here(
    cluster: Cluster, lasting: Cluster, name: str, blobs: ValueBlobs
) -> CallHere:
    found = cluster.get("ConfigMap", name)
    return CallHere(
        cluster,
        lasting,
        found,
        RunHere.of(cluster, found, blobs),
        pod=os.environ.get(POD_NAME, ""),
        blobs=blobs,
        printing=Printing(),
    )
