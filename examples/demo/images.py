"""The demo's image: a service with a scientific stack."""

import os
from pathlib import Path

from imagekit import Image

HERE = Path(__file__).parent
STACK = ("numpy", "pandas", "scikit-learn", "pyarrow", "fastapi", "httpx")

# Docker Hub's Python image where it can be reached; `make demo` names another base
# where it can't.
base = os.environ.get("DEMO_BASE", "docker.io/library/python:3.11-slim-bookworm")

image = (
    Image.from_base(base)
    .clone(name="demo")
    .with_pip_packages(*STACK)
    .with_env_vars({"GREETING": "hello from imagekit"})
    .with_workdir("/app")
    .with_source_folder(HERE / "app")
)
