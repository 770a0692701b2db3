"""Hypothesis strategies for the values of imagekit; one per kind of layer."""

from __future__ import annotations

from hypothesis import strategies as st

from imagekit.image import Image
from imagekit.layers import (
    AptPackages,
    CodeBundle,
    Commands,
    DockerIgnore,
    Env,
    InstallOptions,
    Layer,
    PipPackages,
    Requirements,
    Runtime,
    SourceFile,
    SourceFolder,
    UVProject,
    UVScript,
    WorkDir,
)
from imagekit.origin import Origin, SourcePath
from imagekit.secret import Secret
from imagekit.sources import Tree

# Few letters and few of them, so that examples often nearly collide.
texts = st.text(alphabet='abA1/ =,"\n\\é\u2028', min_size=1, max_size=4)
origins = st.builds(
    Origin,
    file=st.sampled_from(["a.py", "b.py"]),
    line=st.integers(1, 3),
    folder=st.just("/x/y"),
)
paths = st.builds(
    SourcePath,
    name=texts,
    location=st.sampled_from(["/x/a", "/y/b"]),
)
secrets = st.builds(
    Secret, key=st.sampled_from(["a", "b-c"]), group=st.none() | st.just("g")
)
options = st.builds(
    InstallOptions,
    index_url=st.none() | texts,
    extra_index_urls=st.lists(texts, max_size=2).map(tuple),
    pre=st.booleans(),
    extra_args=st.none() | texts,
    secret_mounts=st.lists(secrets, max_size=1).map(tuple),
)
_names = st.lists(texts, min_size=1, max_size=3).map(tuple)

layers: st.SearchStrategy[Layer] = st.one_of(
    st.builds(PipPackages, packages=_names, options=options, origin=origins),
    st.builds(Requirements, file=paths, options=options, origin=origins),
    st.builds(
        UVProject,
        pyproject=paths,
        uvlock=st.none() | paths,
        mode=st.sampled_from(["dependencies_only", "install_project"]),
        options=options,
        origin=origins,
    ),
    st.builds(UVScript, script=paths, options=options, origin=origins),
    st.builds(
        Runtime, version=st.none() | texts, checkout=st.booleans(), origin=origins
    ),
    st.builds(AptPackages, packages=_names, origin=origins),
    st.builds(Commands, commands=_names, origin=origins),
    st.builds(SourceFile, src=paths, dst=texts, origin=origins),
    st.builds(
        SourceFolder,
        src=paths,
        dst=texts,
        copy_contents_only=st.booleans(),
        origin=origins,
    ),
    st.builds(
        CodeBundle,
        digest=texts,
        dst=texts,
        label=texts,
        tree=st.just(Tree(entries=())),
        origin=origins,
    ),
    st.builds(DockerIgnore, path=paths, origin=origins),
    st.builds(
        Env,
        variables=st.dictionaries(texts, texts, min_size=1, max_size=2).map(
            lambda values: tuple(sorted(values.items()))
        ),
        origin=origins,
    ),
    st.builds(WorkDir, path=texts, origin=origins),
)

_bases = st.one_of(
    st.builds(
        Image.from_debian_base,
        python_version=st.none() | st.sampled_from([(3, 11), (3, 12)]),
        install_flyte=st.booleans(),
        platform=st.sampled_from([None, ("linux/amd64",), ("linux/arm64",)]),
    ),
    st.sampled_from(["a", "b:1", "ghcr.io/x/y"]).map(
        lambda uri: Image.from_base(uri).clone(name="app")
    ),
)

images: st.SearchStrategy[Image] = st.builds(
    lambda base, more: base.with_layers(*more), _bases, st.lists(layers, max_size=3)
)
