"""Laws of secrets: commands get them, and nothing else ever does."""

from __future__ import annotations

import hashlib
import os
import secrets
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from imagekit.errors import BuildFailedError, PlanError
from imagekit.oci.config import read_config
from imagekit.oci.decompress import decompressed
from imagekit.plan import RunCommands
from imagekit.secret import Secret
from imagekit.testing.bench import Bench, Work
from imagekit.testing.law import law
from imagekit.testing.plans import command_secrets, origin

_PROOF = "/srv/conformance-proof"


@dataclass(frozen=True, slots=True)
class _Values:
    """Values of the secrets; each has a random word that nothing else has."""

    words: tuple[str, str, str]

    @property
    def texts(self) -> tuple[str, ...]:
        """The values themselves, with what shells trip over."""
        return tuple(f"a$HOME'\"`\\ {word} \u00e9" for word in self.words)

    def traces(self, data: bytes) -> Iterator[str]:
        """Yield how one of the values stands in *data*."""
        for word in self.words:
            for form, pattern in _forms(word):
                if pattern in data:
                    yield form


def _forms(word: str) -> Iterator[tuple[str, bytes]]:
    plain = word.encode()
    # URLs, JSON and shells leave letters and digits as they are.
    yield "as it is", plain
    yield "in hexadecimal", plain.hex().encode()
    for shift in range(3):
        # The middle of a base64 text does not depend on what is around it.
        yield "in base64", b64encode(bytes(shift) + plain)[4:-4]


@law("secrets")
def secrets_stay_secret(bench: Bench) -> Iterator[str]:
    """A command gets its secrets, and no blob, log or message has them."""
    bench.need(RunCommands)
    values = _new_values()
    names = command_secrets(bench.plans.nonce)
    assert names[1].mount is not None
    assert names[2].mount is not None
    commands = (
        f"mkdir -p {_PROOF}",
        f'printf %s "$CONFORMANCE_TOKEN" | sha256sum > {_PROOF}/0',
        f"sha256sum < {names[1].mount} > {_PROOF}/1",
        f"sha256sum < {names[2].mount} > {_PROOF}/2",
    )
    step = RunCommands(commands=commands, secret_mounts=names, origin=origin(31))
    with _given(bench, names, values):
        work = bench.build(bench.plans.of(step))
    yield from _not_delivered(bench, work, values)
    yield from _left_in_image(bench, work, names)
    told = [work.built.log, repr(work.built), *map(repr, work.events)]
    yield from _leaks(values, told, bench, work)


def _not_delivered(bench: Bench, work: Work, values: _Values) -> Iterator[str]:
    for image in work.built.images:
        found = bench.files(work, image)
        for number, text in enumerate(values.texts):
            digest = hashlib.sha256(text.encode(), usedforsecurity=False).hexdigest()
            node = found.nodes.get(f"{_PROOF}/{number}".strip("/"))
            if node is None or (node.data or b"").split()[:1] != [digest.encode()]:
                ways = ("variable", "file", "file from a variable")
                yield f"the secret given as a {ways[number]} was not exact"


def _left_in_image(bench: Bench, work: Work, names: Iterable[Secret]) -> Iterator[str]:
    for image in work.built.images:
        found = bench.files(work, image)
        for secret in names:
            if secret.mount and str(secret.mount).strip("/") in found.nodes:
                yield f"a file is left at {str(secret.mount)!r}"
        environment = dict(read_config(work.config(image)).env)
        for secret in names:
            if secret.as_env_var in environment:
                yield f"{secret.as_env_var} is a variable of the image"


@law("failure-with-secret")
def failure_with_secret(bench: Bench) -> Iterator[str]:
    """The error of a command that has secrets does not have them."""
    bench.need(RunCommands)
    values = _new_values()
    names = command_secrets(bench.plans.nonce)
    step = RunCommands(
        commands=('test -z "$CONFORMANCE_TOKEN"',),
        secret_mounts=names,
        origin=origin(32),
    )
    try:
        with _given(bench, names, values):
            bench.build(bench.plans.of(step))
    except BuildFailedError as error:
        yield from _leaks(values, _texts(error), bench)
    else:
        yield "the command had no secret to fail on"


@law("missing-secret")
def missing_secret(bench: Bench) -> Iterator[str]:
    """A secret without a value is told by name, before anything runs."""
    bench.need(RunCommands)
    names = (Secret(f"conformance-missing-{bench.plans.nonce}"),)
    steps = (
        RunCommands(commands=("exit 38",), origin=origin(33)),
        RunCommands(commands=("true",), secret_mounts=names, origin=origin(34)),
    )
    try:
        bench.build(bench.plans.of(*steps))
    except PlanError as error:
        if names[0].key not in str(error):
            yield f"the error does not name the secret: {error}"
        if str(origin(34)) not in f"{error} {error.origin}":
            yield f"the error does not say where the secret is asked for: {error}"
    except BuildFailedError as error:
        yield f"a command ran before the secret was missed: {error}"
    else:
        yield "the image was built without the secret"


def _new_values() -> _Values:
    first, second, third = (secrets.token_hex(16) for _ in range(3))
    return _Values((first, second, third))


@contextmanager
def _given(
    bench: Bench, names: tuple[Secret, Secret, Secret], values: _Values
) -> Iterator[None]:
    """Have the values where imagekit looks for them."""
    folder = bench.folder / "secrets"
    folder.mkdir(exist_ok=True)
    (folder / names[1].key).write_text(values.texts[1], encoding="utf-8")
    variables = {
        names[0].lookup_name: values.texts[0],
        names[2].lookup_name: values.texts[2],
        "IMAGEKIT_SECRETS_DIR": str(folder),
    }
    with patch.dict(os.environ, variables):
        yield


def _texts(error: BaseException | None) -> list[str]:
    """Return all that an error and its causes have to say."""
    found: list[str] = []
    while error is not None:
        found += [str(error), repr(error), *map(str, vars(error).values())]
        error = error.__cause__ or error.__context__
    return found


def _leaks(
    values: _Values, told: Iterable[str], bench: Bench, work: Work | None = None
) -> Iterator[str]:
    for text in told:
        for form in values.traces(text.encode("utf-8", "surrogateescape")):
            yield f"a secret is told {form}: in {text[:60]!r}…"
    for path in _files(bench.folder / "stores"):
        for form in values.traces(path.read_bytes()):
            yield f"a secret is {form} in the store's {path.parent.name}/{path.name}"
    if work is None:
        return
    for image in work.built.images:
        for layer in bench.upper(work, image):
            content = work.content(layer)
            chunks = [content.read_bytes()] if isinstance(content, Path) else content
            data = b"".join(decompressed(chunks, layer.media_type))
            for form in values.traces(data):
                yield f"a secret is {form} in the layer {layer.digest}"


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path
