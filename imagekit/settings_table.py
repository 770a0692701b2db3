"""The one table of settings: keys, kinds of values, defaults and meanings.

Parsing, ``imagekit config`` and ``docs/settings.md`` are all made from it.
"""

from __future__ import annotations

from imagekit.setting import Setting
from imagekit.settings_kinds import (
    CACHES,
    COUNT,
    FILE,
    FOLDER,
    MIRRORS,
    MODE,
    NETWORK,
    PLATFORMS,
    PREFIX,
    REGISTRIES,
    REGISTRY,
    SIZE,
    TEXT,
)
from imagekit.settings_on_clusters import ON_CLUSTERS

SETTINGS: tuple[Setting, ...] = (
    Setting(
        field="builder",
        key="builder",
        kind=TEXT,
        default="`auto`",
        example='"embedded"',
        meaning="Name of the builder; `auto` leaves the choice to imagekit.",
    ),
    Setting(
        field="registry",
        key="registry",
        kind=REGISTRY,
        default="none",
        example='"ghcr.io/team"',
        meaning="Registry of images that name none.",
    ),
    Setting(
        field="name_prefix",
        key="name-prefix",
        kind=PREFIX,
        default="none",
        example='"research/"',
        meaning="Text in front of every image name.",
    ),
    Setting(
        field="platforms",
        key="platforms",
        kind=PLATFORMS,
        default="the image's own",
        example='["linux/amd64", "linux/arm64"]',
        meaning="Platforms that replace those of the images.",
    ),
    Setting(
        field="mirrors",
        key="registry-mirrors",
        kind=MIRRORS,
        default="none",
        example='{ "docker.io" = "127.0.0.1:5000" }',
        meaning="Registries that are asked first for the images of another.",
    ),
    Setting(
        field="insecure_registries",
        key="insecure-registries",
        kind=REGISTRIES,
        default="none",
        example='["registry.lan:5000"]',
        meaning="Registries without TLS; those on this machine's loopback need no "
        "mention.",
    ),
    Setting(
        field="remote",
        key="remote",
        kind=TEXT,
        default="none",
        example='"tcp://builder.lan:1234"',
        meaning="Endpoint of a remote BuildKit, for what must execute: "
        "`tcp://HOST:PORT`, `ssh://HOST`, `docker-context://NAME`, "
        "`kubernetes://[NAMESPACE]` or `buildx://INSTANCE`.",
    ),
    Setting(
        field="remote_ca",
        key="remote-ca",
        kind=FILE,
        default="none",
        example='"certs/builder-ca.pem"',
        meaning="File with the certificate authorities that a `tcp://` endpoint is "
        "checked against.",
    ),
    Setting(
        field="remote_cert",
        key="remote-cert",
        kind=FILE,
        default="none",
        example='"certs/client.pem"',
        meaning="File with the client certificate for a `tcp://` endpoint.",
    ),
    Setting(
        field="remote_key",
        key="remote-key",
        kind=FILE,
        default="none",
        example='"certs/client-key.pem"',
        meaning="File with the key of the client certificate.",
    ),
    Setting(
        field="cache_from",
        key="cache-from",
        kind=CACHES,
        default="none",
        example='["type=registry,ref=ghcr.io/team/cache"]',
        meaning="Caches that BuildKit imports, in its own words.",
    ),
    Setting(
        field="cache_to",
        key="cache-to",
        kind=CACHES,
        default="none",
        example='["type=local,dest=/var/cache/buildkit"]',
        meaning="Caches that BuildKit exports, in its own words.",
    ),
    Setting(
        field="network",
        key="network",
        kind=NETWORK,
        default="the engine's",
        example='"host"',
        meaning="Network of the steps that execute: `default`, `none` or `host`.",
    ),
    Setting(
        field="ca_bundle",
        key="ca-bundle",
        kind=FILE,
        default="the system's",
        example='"certs/company.pem"',
        meaning="File with the certificate authorities that registries are checked "
        "against, and that steps which execute are given.",
    ),
    Setting(
        field="cache_dir",
        key="cache-dir",
        kind=FOLDER,
        default="`$XDG_CACHE_HOME/imagekit`, else `~/.cache/imagekit`",
        example='"/var/cache/imagekit"',
        meaning="Folder of the content store.",
    ),
    Setting(
        field="cache_cap",
        key="cache-cap",
        kind=SIZE,
        default="`20GiB`",
        example='"50GB"',
        meaning="Size that `imagekit cache gc` brings the store down to.",
    ),
    Setting(
        field="jobs",
        key="jobs",
        kind=COUNT,
        default="the number of processors, at least 2 and at most 16",
        example="4",
        meaning="How many threads work at once.",
    ),
    Setting(
        field="mode",
        key="mode",
        kind=MODE,
        default="`local`",
        example='"container"',
        meaning="Where tasks run: `local` is this process, `container` a container "
        "of the task's image, `remote` a cluster.",
    ),
    Setting(
        field="environment",
        key="environment",
        kind=TEXT,
        default="none",
        example='"training"',
        meaning="Environment of the task that `imagekit run` runs, where several have "
        "one of that name.",
    ),
    Setting(
        field="record_dir",
        key="record-dir",
        kind=FOLDER,
        default="`$XDG_STATE_HOME/imagekit`, else `~/.local/state/imagekit`",
        example='"/var/lib/imagekit"',
        meaning="Folder with the records of runs and the cached results of tasks.",
    ),
    Setting(
        field="secrets_dir",
        key="secrets-dir",
        kind=FOLDER,
        default="none",
        example='"/run/secrets"',
        meaning="Folder with one file for each secret that is not in the environment; "
        "`/etc/secrets` comes after it.",
    ),
    Setting(
        field="containers",
        key="containers",
        kind=COUNT,
        default="4 for each processor",
        example="8",
        meaning="How many containers of tasks that don't wait for others run at once.",
    ),
    *ON_CLUSTERS,
)

#: Variables that are no settings, so that they can't be taken for misspelt ones.
OTHER_VARIABLES: tuple[tuple[str, str], ...] = (
    (
        "IMAGEKIT_MACHINE_DIR",
        "Where `make demo` and `make test` keep the engine and images they set up.",
    ),
)
#: Beginning of variables that the test suite and benchmarks use.
TEST_VARIABLES = "IMAGEKIT_TEST_"
