"""A secret that a build uses is found nowhere, in whatever form one looks for it."""

from __future__ import annotations

import gzip
import hashlib
import os
import secrets
import subprocess
import threading
import traceback
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from engine_plans import context, debian, plan, reach, reach_client_only, remotely
from image_trees import image_tree, only_image
from machine.engine import Engine
from machine.remote_buildkit import RemoteBuildKit
from machine.state import state_folder
from processes import processes, running_docker

from imagekit.builder import Builder, Execution
from imagekit.errors import BuildFailedError, PlanError
from imagekit.plan import BaseImage, InstallAptPackages, RunCommands
from imagekit.progress import Event, Progress
from imagekit.secret import Secret
from imagekit.store import Store
from imagekit_buildkit import BuildKitBuilder, RemoteBuilder

_POLL_SECONDS = 0.02
_SMALL = 1 << 22
_APT_LOGIN = "/etc/apt/auth.conf.d/90private.conf"
_PRINT_QUOTED = 'import os; from urllib.parse import quote; print(quote(os.environ["DEPLOY"], safe=""))'
_KEY = "/root/.deploy/key"
_PRINT_ALL = f"""\
echo "token: $PRIVATE_TOKEN"; echo "key: $DEPLOY" >&2
cat {_APT_LOGIN} {_KEY}; echo
printf %s "$PRIVATE_TOKEN" | base64 -w 0; echo
(printf a; cat {_KEY}) | base64 -w 0; echo
(printf ab; cat {_KEY}) | base64 -w 0; echo
python3 -c '{_PRINT_QUOTED}'
echo printed it all; exit 3"""

#: In the environment of this process, and given to steps as a variable.
TOKEN = Secret("token", group="private")
#: In a file here, and a file there.
LOGIN = Secret("apt-login", mount=_APT_LOGIN)
#: In the environment here, and a file and a variable there.
KEY = Secret("deploy-key", mount=_KEY, as_env_var="DEPLOY")
VARIABLES = {"PRIVATE_TOKEN", "DEPLOY_KEY"}


def forms(value: str) -> dict[str, bytes]:
    """Return what *value* looks like, whatever stands before and behind it."""
    data = value.encode()
    found = {
        "plain": data,
        "url": quote(value, safe="").encode(),
        "url of a form": quote_plus(value).encode(),
        "hex": data.hex().encode(),
    }
    for name, encode in (("base64", b64encode), ("base64url", urlsafe_b64encode)):
        for shift in range(3):
            text = encode(bytes(shift) + data)
            # Letters that hold bits of a neighbour are left out at both ends.
            first, whole = (0, 2, 3)[shift], (shift + len(data)) * 8 // 6
            found[f"{name} + {shift}"] = text[first:whole]
    return found


@dataclass
class Hidden:
    """The values of the secrets of a test, and where they were found."""

    values: list[str]
    found: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.forms = {
            f"{name} of value {number}": form
            for number, value in enumerate(self.values)
            for name, form in forms(value).items()
        }

    def look(self, where: str, data: bytes | str) -> None:
        """Look into *data*, and note what is found."""
        if isinstance(data, str):
            data = data.encode("utf-8", "surrogateescape")
        self.found += [
            f"{name} in {where}" for name, form in self.forms.items() if form in data
        ]

    def look_into_folder(self, folder: Path, *, growing: bool = False) -> None:
        """Look into names and contents of files, and what is compressed in them.

        In a folder that somebody writes to, *growing*, only small files are read, and
        those as they are.
        """
        for parent, folders, files in os.walk(folder):
            self.look(f"a name in {parent}", "/".join([*folders, *files]))
            for path in (Path(parent, name) for name in files):
                with suppress(FileNotFoundError):  # it was a temporary one
                    if path.is_file() and not (
                        growing and path.stat().st_size > _SMALL
                    ):
                        self._look_into_file(path, packed=not growing)

    def _look_into_file(self, path: Path, *, packed: bool) -> None:
        data = path.read_bytes()
        self.look(str(path), data)
        if packed and data.startswith(b"\x1f\x8b"):
            self.look(f"{path}, unpacked", gzip.decompress(data))


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_the_search_finds_every_form(before: str) -> None:
    value = "s3cr\u00e9t/+ &=?"
    text = f"{before}{value}and more".encode()

    for data, name in (
        (text, "plain"),
        (quote(text, safe="").encode(), "url"),
        (quote_plus(text).encode(), "url of a form"),
        (text.hex().encode(), "hex"),
        (b64encode(text), f"base64 + {len(before) % 3}"),
        (urlsafe_b64encode(text), f"base64url + {len(before) % 3}"),
    ):
        hidden = Hidden([value])
        hidden.look("text", data)
        assert f"{name} of value 0 in text" in hidden.found


@pytest.fixture(scope="module")
def base(base_layout: Path, warm_store: Store) -> BaseImage:
    return debian(base_layout, warm_store)


@pytest.fixture
def hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hidden:
    """Values that nobody has seen before, where builders look for them."""
    # Each holds what encodings change.
    token, key, password = (
        f"{secrets.token_hex(8)}/+ \u00e9%{secrets.token_urlsafe(9)}" for _ in range(3)
    )
    folder = tmp_path / "secrets"
    folder.mkdir()
    login = f"machine packages.example login me password {password.replace(' ', '_')}\n"
    (folder / "apt-login").write_text(login)
    monkeypatch.setenv("IMAGEKIT_SECRETS_DIR", str(folder))
    monkeypatch.setenv("PRIVATE_TOKEN", token)
    monkeypatch.setenv("DEPLOY_KEY", key)
    return Hidden([token, key, password.replace(" ", "_")])


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@dataclass(frozen=True)
class Way:
    """A BuildKit, and how a builder of it is made.

    Attributes:
        apt: whether to install packages, which takes a while.
    """

    engine: Engine
    make: Callable[[Store, Execution, Progress], Builder]
    exports_cache: bool = True
    apt: bool = False


@pytest.fixture(params=["local", "classic", "remote", "remote with TLS"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Way:
    """Each way to a BuildKit."""
    name: str = request.param
    if name in ("local", "classic"):
        fixture = "engine" if name == "local" else "classic_engine"
        engine: Engine = request.getfixturevalue(fixture)
        reach(monkeypatch, engine)
        return Way(
            engine,
            lambda store, execution, progress: BuildKitBuilder(
                context(store, execution, progress=progress)
            ),
            exports_cache=name == "local",
            apt=name == "local",
        )
    fixture = "remote_buildkit" if name == "remote" else "remote_buildkit_tls"
    remote: RemoteBuildKit = request.getfixturevalue(fixture)
    engine = request.getfixturevalue("engine")
    reach_client_only(monkeypatch, engine)
    there = remotely(remote)
    return Way(
        engine,
        lambda store, execution, progress: RemoteBuilder(
            context(
                store,
                replace(
                    execution,
                    remote=there.remote,
                    remote_ca=there.remote_ca,
                    remote_cert=there.remote_cert,
                    remote_key=there.remote_key,
                ),
                progress=progress,
            )
        ),
        apt=name == "remote",
    )


class Watch:
    """Looks at processes, temporary files and events while a build runs."""

    def __init__(self, hidden: Hidden, folders: list[Path]) -> None:
        self.variables: set[str] = set()
        self._hidden = hidden
        self._folders = folders
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll)

    def __call__(self, event: Event, /) -> None:
        """Look at an event, and at files that exist only now."""
        self._hidden.look("an event", repr(event))
        for folder in self._folders:
            self._hidden.look_into_folder(folder, growing=True)
        self._look_at_docker()

    @contextmanager
    def watching(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join()

    def _poll(self) -> None:
        while not self._ended.wait(_POLL_SECONDS):
            for process in processes():
                self._hidden.look("arguments of a process", process.argv)

    def _look_at_docker(self) -> None:
        for process in running_docker():
            self._hidden.look("arguments of docker", process.argv)
            for pair in process.environ().split(b"\0"):
                name, _, text = pair.partition(b"=")
                if any(value.encode() in text for value in self._hidden.values):
                    self.variables.add(name.decode())


@pytest.mark.engine
def test_a_secret_is_found_nowhere(
    way: Way,
    base: BaseImage,
    store: Store,
    hidden: Hidden,
    temporary: Path,
    tmp_path: Path,
) -> None:
    cache = tmp_path / "cache"
    caches = (f"type=local,dest={cache},mode=max",) if way.exports_cache else ()
    watch = Watch(hidden, [temporary, store.temporary()])
    builder = way.make(store, Execution(cache_to=caches, no_cache=way.apt), watch)
    apt = InstallAptPackages(packages=("tree",), secret_mounts=(LOGIN, TOKEN))
    wanted = plan(
        base,
        *((apt,) if way.apt else ()),
        RunCommands(
            commands=(
                f'printf %s "$PRIVATE_TOKEN" | sha256sum > /token # {store.root}',
                f'sha256sum < {_KEY} > /key && printf %s "$DEPLOY" | sha256sum >> /key',
                f"sha256sum < {_APT_LOGIN} > /login",
            ),
            secret_mounts=(TOKEN, KEY, LOGIN),
        ),
        RunCommands(commands=("env > /environment",)),
    )

    with watch.watching():
        built = builder.build(wanted)

    tree = image_tree(store, base, only_image(built)).nodes
    token, key, _ = hidden.values
    assert tree["token"].data == summed(token)
    assert tree["key"].data == summed(key) * 2
    login = Path(os.environ["IMAGEKIT_SECRETS_DIR"], "apt-login").read_text()
    assert tree["login"].data == summed(login)
    assert b"PRIVATE_TOKEN" not in (tree["environment"].data or b"")
    left = {_KEY, "/root/.deploy", _APT_LOGIN, "/run/secrets"}
    assert not left & {f"/{path}" for path in tree}, "a mount point is left"
    if way.exports_cache:
        assert any((cache / "blobs/sha256").iterdir())
        hidden.look_into_folder(cache)
    hidden.look("what was built", repr(built))
    hidden.look("the log", built.log)
    hidden.look_into_folder(store.root)
    hidden.look_into_folder(temporary)
    look_into_engine(way.engine, hidden, tmp_path)
    assert hidden.found == []
    # The one place where it has to be: buildx itself is given it there.
    assert watch.variables == VARIABLES


def summed(text: str) -> bytes:
    """Return what ``sha256sum`` prints of *text*."""
    return f"{hashlib.sha256(text.encode()).hexdigest()}  -\n".encode()


def look_into_engine(engine: Engine, hidden: Hidden, folder: Path) -> None:
    """Look at all that a private engine keeps: snapshots, caches, build history."""
    root = Path(engine.docker("info", "--format", "{{.DockerRootDir}}").strip())
    if not root.is_relative_to(state_folder()):
        return  # somebody's own, with all that is theirs
    patterns = folder / "patterns"
    patterns.write_bytes(b"\n".join(hidden.forms.values()))
    found = subprocess.run(
        [
            "grep",
            "-r",
            "-l",
            "-a",
            "-F",
            "-f",
            str(patterns),
            "--devices=skip",
            str(root),
        ],
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
    )
    patterns.unlink()
    hidden.found += [f"the engine's {line}" for line in found.stdout.splitlines()]


@pytest.mark.engine
def test_a_command_that_fails_and_prints_its_secret_does_not_give_it_away(
    way: Way, base: BaseImage, store: Store, hidden: Hidden, temporary: Path
) -> None:
    watch = Watch(hidden, [])
    builder = way.make(store, Execution(), watch)
    wanted = plan(
        base,
        RunCommands(
            commands=(_PRINT_ALL,),
            secret_mounts=(TOKEN, KEY, LOGIN),
        ),
    )

    with watch.watching(), pytest.raises(BuildFailedError) as caught:
        builder.build(wanted)

    error = caught.value
    assert error.exit_code == 3
    assert "printed it all" in error.log_tail
    hidden.look("the error", f"{error!r} {error} {error.hint} {error.argv}")
    hidden.look("the end of the log", error.log_tail)
    hidden.look("the traceback", "".join(traceback.format_exception(error)))
    hidden.look_into_folder(store.root)
    hidden.look_into_folder(temporary)
    assert hidden.found == []


@pytest.mark.engine
def test_a_command_that_prints_its_secret_does_not_give_it_away(
    way: Way, base: BaseImage, store: Store, hidden: Hidden
) -> None:
    watch = Watch(hidden, [])
    builder = way.make(store, Execution(), watch)
    wanted = plan(
        base,
        RunCommands(
            commands=(f'echo "token: $PRIVATE_TOKEN" && echo printed # {store.root}',),
            secret_mounts=(TOKEN,),
        ),
    )

    built = builder.build(wanted)

    assert "printed" in built.log
    hidden.look("the log", built.log)
    assert hidden.found == []


@pytest.mark.engine
def test_a_missing_secret_is_reported_before_anything_starts(
    engine: Engine,
    remote_buildkit: RemoteBuildKit,
    base: BaseImage,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reach_client_only(monkeypatch, engine)
    builder = RemoteBuilder(context(store, remotely(remote_buildkit)))
    wanted = plan(base, RunCommands(commands=("true",), secret_mounts=(TOKEN,)))

    with pytest.raises(PlanError, match="PRIVATE_TOKEN"):
        builder.build(wanted)

    assert remote_buildkit.connections == 0


def test_the_values_of_secrets_are_in_no_plan(hidden: Hidden) -> None:
    for secret in (TOKEN, KEY, LOGIN):
        hidden.look("a secret", f"{secret!r} {secret} {secret.stable_hash()}")

    assert hidden.found == []
