"""OCI documents: what is written is valid and canonical, what is read is checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft4Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4
from small_images import AMD64, ARM64, Images, python_files

from imagekit.digest import Digest
from imagekit.errors import LayoutError
from imagekit.oci import model
from imagekit.oci.config import read_config, scratch_config
from imagekit.oci.layout import MARKER
from imagekit.oci.model import Descriptor, canonical_json
from imagekit.oci.select import find_image, offered_platforms
from imagekit.platform import Platform

_SCHEMAS = Path(__file__).parents[1] / "fixtures" / "schemas"
_RESOURCES: Registry[Any] = Registry().with_resources(
    (
        # The files name each other by file name, below an id of their own.
        f"https://opencontainers.org/schema/{folder}{path.name}",
        Resource.from_contents(json.loads(path.read_bytes()), DRAFT4),
    )
    for path in _SCHEMAS.glob("*.json")
    for folder in ("", "image/")
)


def schema_faults(name: str, content: bytes) -> list[str]:
    schema = json.loads((_SCHEMAS / f"{name}.json").read_bytes())
    validator = Draft4Validator(
        schema, registry=_RESOURCES, format_checker=FormatChecker()
    )
    return [error.message for error in validator.iter_errors(json.loads(content))]


digests = st.binary(max_size=4).map(Digest.of)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
pairs = st.dictionaries(texts.filter(bool), texts, max_size=3).map(
    lambda found: tuple(sorted(found.items()))
)
descriptors = st.builds(
    Descriptor,
    media_type=st.sampled_from([model.MANIFEST, model.LAYER_GZIP, model.CONFIG]),
    digest=digests,
    size=st.integers(0, 2**53),
    annotations=pairs,
    platform=st.sampled_from([None, AMD64, ARM64]),
)


@given(st.recursive(st.none() | st.booleans() | st.integers() | texts, st.lists))
def test_canonical_json_is_json(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


def test_canonical_json_has_one_form() -> None:
    assert canonical_json({"b": "é", "a": [1]}) == '{"a":[1],"b":"é"}'.encode()


@given(descriptors)
def test_a_descriptor_survives_json(descriptor: Descriptor) -> None:
    assert Descriptor.from_json(descriptor.to_json()) == descriptor


def test_a_variant_survives_json() -> None:
    descriptor = Descriptor(
        media_type=model.MANIFEST,
        digest=Digest.of(b""),
        size=0,
        platform=ARM64,
        variant="v8",
    )

    assert Descriptor.from_json(descriptor.to_json()) == descriptor
    assert descriptor.to_json()["platform"]["variant"] == "v8"


@given(descriptors, st.lists(descriptors, min_size=1, max_size=3), pairs)
def test_manifests_are_valid_and_read_back(
    config: Descriptor, layers: list[Descriptor], annotations: Any
) -> None:
    content = model.manifest(config, layers, annotations)
    view = model.read_manifest(content, model.MANIFEST)

    assert schema_faults("image-manifest-schema", content) == []
    assert (view.config, view.layers) == (config, tuple(layers))
    assert view.annotations == annotations


@given(st.lists(descriptors, max_size=3), pairs)
def test_indexes_are_valid_and_read_back(
    manifests: list[Descriptor], annotations: Any
) -> None:
    content = model.index(manifests, dict(annotations))
    view = model.read_index(content, model.INDEX)

    assert schema_faults("image-index-schema", content) == []
    assert view.manifests == tuple(manifests)
    assert view.annotations == annotations


def test_the_marker_of_a_layout_is_valid() -> None:
    assert schema_faults("image-layout-schema", MARKER) == []


def test_the_schemas_find_faults() -> None:
    assert schema_faults("image-manifest-schema", b'{"schemaVersion": 3}') != []
    assert schema_faults("image-layout-schema", b'{"imageLayoutVersion": "2"}') != []
    content = canonical_json({"schemaVersion": 2, "manifests": [{"size": "1"}]})
    assert schema_faults("image-index-schema", content) != []


# Configs --------------------------------------------------------------------------

BASE: dict[str, Any] = {
    "os": "linux",
    "architecture": "arm64",
    "variant": "v8",
    "com.example.unknown": {"kept": True},
    "config": {
        "Env": ["PATH=/usr/bin", "LANG=C", "EMPTY="],
        "Cmd": ["python3"],
        "WorkingDir": "/old",
        "Labels": {"a": "1", "b": "2"},
        "Healthcheck": {"Test": ["NONE"]},
    },
    "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(b"base"))]},
    "history": [{"created_by": "base"}, {"created_by": "CMD", "empty_layer": True}],
}
CREATED = "1980-01-02T00:00:00Z"
STEP = {"created": CREATED, "created_by": "numpy"}


def changed(base: dict[str, Any] = BASE, **changes: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "diff_ids": [Digest.of(b"ours")],
        "history": [STEP],
        "created": CREATED,
    }
    content = model.image_config(canonical_json(base), **(settings | changes))

    assert schema_faults("config-schema", content) == []
    found: dict[str, Any] = json.loads(content)
    return found


def test_a_config_changes_only_what_is_asked() -> None:
    found = changed()

    assert found["rootfs"]["diff_ids"] == [
        str(Digest.of(b"base")),
        str(Digest.of(b"ours")),
    ]
    assert found["history"] == [*BASE["history"], STEP]
    assert found["created"] == CREATED
    untouched = ("os", "architecture", "variant", "config", "com.example.unknown")
    assert {name: found[name] for name in untouched} == {
        name: BASE[name] for name in untouched
    }


def test_variables_are_replaced_in_place_and_added_at_the_end() -> None:
    found = changed(env=[("NEW", "a=b"), ("LANG", "C.UTF-8")])

    assert found["config"]["Env"] == [
        "PATH=/usr/bin",
        "LANG=C.UTF-8",
        "EMPTY=",
        "NEW=a=b",
    ]


def test_other_settings_of_a_config() -> None:
    found = changed(
        workdir="/root",
        user="1000:1000",
        entrypoint=["/bin/app"],
        cmd=[],
        labels=[("b", "3")],
    )["config"]

    assert found["WorkingDir"] == "/root"
    assert found["User"] == "1000:1000"
    assert found["Entrypoint"] == ["/bin/app"]
    assert found["Cmd"] == []
    assert found["Labels"] == {"a": "1", "b": "3"}
    assert found["Healthcheck"] == {"Test": ["NONE"]}


@pytest.mark.parametrize(
    "history",
    [
        None,
        [],
        [{"created_by": "x", "empty_layer": True}],
        [{"created_by": "x"}, {"created_by": "y"}],
    ],
    ids=["none", "empty", "too-short", "too-long"],
)
def test_the_history_has_one_entry_a_layer(history: Any) -> None:
    found = changed(base={**BASE, "history": history})["history"]

    made = [step for step in found if not step.get("empty_layer")]
    assert len(made) == 2
    assert made[-1] == STEP


def test_a_config_can_start_from_scratch() -> None:
    found = changed(base=json.loads(scratch_config(ARM64)))

    assert found["rootfs"]["diff_ids"] == [str(Digest.of(b"ours"))]
    assert (found["os"], found["architecture"]) == ("linux", "arm64")


def test_a_config_is_read() -> None:
    found = read_config(canonical_json(BASE))

    assert found.platform == ARM64
    assert found.variant == "v8"
    assert found.env == (("PATH", "/usr/bin"), ("LANG", "C"), ("EMPTY", ""))
    assert (found.workdir, found.user) == ("/old", "")
    assert found.diff_ids == (Digest.of(b"base"),)
    assert found.history == ("base", "CMD")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"rootfs": {"diff_ids": ["x"]}}',
        b'{"rootfs": {"diff_ids": 3}}',
        b'{"config": {"Env": [3]}}',
        b'{"config": "x"}',
    ],
)
def test_a_bad_config_is_refused(content: bytes) -> None:
    with pytest.raises(LayoutError):
        read_config(content)


# Reading --------------------------------------------------------------------------

_PART = Descriptor.of(b"", model.CONFIG).to_json()
_MANIFEST: dict[str, Any] = {"schemaVersion": 2, "config": _PART, "layers": [_PART]}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"schemaVersion": 2}, "'layers', found None"),
        ({**_MANIFEST, "schemaVersion": 1}, "wanted schemaVersion 2, found 1"),
        ({**_MANIFEST, "manifests": []}, "of a manifest and of an index"),
        ({**_MANIFEST, "mediaType": model.INDEX}, "found .*index.v1.json' inside"),
        ({**_MANIFEST, "layers": None}, "'layers'"),
        ({**_MANIFEST, "layers": [7]}, r"layers\[0\]: wanted a descriptor, found 7"),
        ({**_MANIFEST, "config": {**_PART, "digest": "sha256:0"}}, "'sha256:0'"),
        ({**_MANIFEST, "config": {**_PART, "size": -1}}, "found -1"),
        ({**_MANIFEST, "config": {**_PART, "size": True}}, "found True"),
        ({**_MANIFEST, "config": {**_PART, "mediaType": ""}}, "wanted a mediaType"),
        ({**_MANIFEST, "config": {**_PART, "platform": {"os": 1}}}, "platform"),
        ({**_MANIFEST, "annotations": {"a": 1}}, "annotations"),
    ],
)
def test_bad_manifests_are_refused(document: Any, words: str) -> None:
    with pytest.raises(LayoutError, match=words):
        model.read_document(canonical_json(document), model.MANIFEST)


def test_all_faults_of_a_descriptor_are_reported() -> None:
    with pytest.raises(LayoutError) as caught:
        Descriptor.from_json({"size": "1", "digest": "md5:x"}, "config")

    assert len(caught.value.issues) == 3


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists) | st.just({}))
def test_other_json_is_no_manifest(document: Any) -> None:
    with pytest.raises(LayoutError):
        model.read_document(canonical_json({"config": document, "layers": document}))


def test_a_document_without_media_type_is_known_by_its_fields() -> None:
    assert isinstance(model.read_document(canonical_json(_MANIFEST)), model.Manifest)
    index = {"schemaVersion": 2, "manifests": []}
    assert isinstance(model.read_document(canonical_json(index)), model.Index)
    with pytest.raises(LayoutError):
        model.read_index(canonical_json(_MANIFEST))
    with pytest.raises(LayoutError):
        model.read_manifest(canonical_json(index))


# Choosing -------------------------------------------------------------------------


def _entry(
    descriptor: Descriptor, os: str, architecture: str, variant: str | None
) -> Descriptor:
    return Descriptor(
        media_type=descriptor.media_type,
        digest=descriptor.digest,
        size=descriptor.size,
        platform=Platform(os, architecture),
        variant=variant,
    )


@pytest.mark.parametrize(
    ("variant", "wanted", "chosen"),
    [
        (None, AMD64, True),
        ("v1", AMD64, True),
        ("v3", AMD64, False),
        (None, ARM64, True),
        ("v8", ARM64, True),
        ("v9", ARM64, False),
    ],
)
def test_variants(variant: str | None, wanted: Platform, chosen: bool) -> None:
    images = Images()
    image = images.image(python_files(), platform=wanted)
    root = images.index(_entry(image, "linux", wanted.architecture, variant))

    found = find_image(root, wanted, lambda d: images.blobs[d.digest])

    assert (found is not None) == chosen


def test_attestations_and_other_systems_are_passed_over() -> None:
    images = Images()
    image = images.image(python_files())
    attestation = images.image({"sbom": b"{}"})
    marked = Descriptor(
        media_type=model.MANIFEST,
        digest=attestation.digest,
        size=attestation.size,
        platform=AMD64,
        annotations=(("vnd.docker.reference.type", "attestation-manifest"),),
    )
    root = images.index(
        _entry(attestation, "unknown", "unknown", None),
        marked,
        _entry(attestation, "windows", "amd64", None),
        _entry(attestation, "linux", "arm", "v7"),
        _entry(image, "linux", "amd64", None),
    )

    found = find_image(root, AMD64, lambda d: images.blobs[d.digest])

    assert found is not None
    assert found.descriptor.digest == image.digest
    assert find_image(root, ARM64, lambda d: images.blobs[d.digest]) is None
    assert offered_platforms(root, lambda d: images.blobs[d.digest]) == (
        "windows/amd64",
        "linux/arm/v7",
        "linux/amd64",
    )


def test_an_image_in_an_index_within_an_index_is_found() -> None:
    images = Images()
    arm = images.image(python_files(), platform=ARM64)
    inner = images.index(images.image({"a": b""}), arm)
    root = images.index(inner)

    found = find_image(root, ARM64, lambda d: images.blobs[d.digest])

    assert found is not None
    assert found.descriptor.digest == arm.digest
    assert set(offered_platforms(root, lambda d: images.blobs[d.digest])) == {
        "linux/amd64",
        "linux/arm64",
    }


def test_indexes_may_not_nest_for_ever() -> None:
    images = Images()
    root = images.index(images.image({"a": b""}))
    for _ in range(6):
        root = images.index(root)

    with pytest.raises(LayoutError, match="indexes within each other"):
        find_image(root, AMD64, lambda d: images.blobs[d.digest])


def test_an_image_that_an_index_says_nothing_about_is_known_by_its_config() -> None:
    images = Images()
    arm = images.image(python_files(), platform=ARM64)
    plain = Descriptor(
        media_type=arm.media_type, digest=arm.digest, size=arm.size, platform=None
    )
    root = images.index(plain)

    assert find_image(root, AMD64, lambda d: images.blobs[d.digest]) is None
    found = find_image(root, ARM64, lambda d: images.blobs[d.digest])
    assert found is not None
    assert found.config.platform == ARM64


def test_docker_images_are_read() -> None:
    images = Images()
    root = images.image(python_files(), media_type=model.DOCKER_MANIFEST)

    found = find_image(root, AMD64, lambda d: images.blobs[d.digest])

    assert found is not None
    assert [layer.media_type for layer in found.manifest.layers] == [
        model.DOCKER_LAYER_GZIP
    ]
    assert model.oci_media_type(model.DOCKER_LAYER_GZIP) == model.LAYER_GZIP


def test_a_config_with_too_few_diff_ids_is_refused() -> None:
    images = Images()
    rootfs = {"type": "layers", "diff_ids": []}
    root = images.image(python_files(), extra={"rootfs": rootfs})

    with pytest.raises(LayoutError, match="1 layers, but 0 diff_ids"):
        find_image(root, AMD64, lambda d: images.blobs[d.digest])
