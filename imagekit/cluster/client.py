"""The cluster that the settings name, as clients reach it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagekit.cluster.namespaces import namespace_of

if TYPE_CHECKING:
    from imagekit.cluster.api import Cluster
    from imagekit.initialization import Configuration
    from imagekit.settings import Settings


def client_cluster(settings: Settings, configuration: Configuration) -> Cluster:
    """Return access to the cluster; nothing is asked yet.

    Raises:
        InitializationError: there is no kubeconfig, or it can't be used.
        SettingsError: no namespace can be called what is set.
    """
    from imagekit.cluster.api import Cluster  # noqa: PLC0415  (only to reach one)
    from imagekit.cluster.kubeconfig import client_api  # noqa: PLC0415  (likewise)

    return Cluster(
        client_api(
            kubeconfig=settings.kubeconfig,
            context=settings.kube_context,
            namespace=namespace_of(settings, configuration),
        )
    )
