"""``make demo``: define, build, build again, run. Real packages, real bytes.

1. Finds a base: Docker Hub's Python image, else one made from Debian packages.
2. Builds ``images.py`` into an OCI layout, without any container engine.
3. Builds it again: nothing is left to do.
4. Runs a program in it: with Docker where an engine answers, else unpacked.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
IMAGES = str(HERE / "images.py")
COMMAND = ["/opt/venv/bin/python", "main.py"]


def say(text: str) -> None:
    print(f"\n== {text}", file=sys.stderr, flush=True)


def build(*words: str) -> dict[str, object]:
    """Build the demo's image with the command line, and return what it tells."""
    done = subprocess.run(
        [sys.executable, "-m", "imagekit", "build", IMAGES, *words, "--json"],
        check=True,
        stdout=subprocess.PIPE,
    )
    found: dict[str, object] = json.loads(done.stdout)["images"][0]
    return found


def base() -> str:
    """Return a base image that can be reached from here."""
    wanted = "docker.io/library/python:3.11-slim-bookworm"
    if "DEMO_BASE" in os.environ:
        return os.environ["DEMO_BASE"]
    probe = subprocess.run(
        [sys.executable, "-m", "imagekit", "inspect", wanted],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if probe.returncode == 0:
        return wanted
    say("Docker Hub can't be reached, so a base is made from Debian packages (1 min)")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    layout = cache / "imagekit-machine" / "demo-base"
    script = ROOT / "fixtures" / "machine" / "debian_base.py"
    subprocess.run([sys.executable, str(script), str(layout)], check=True)
    return f"oci:{layout}"


def engine() -> bool:
    """Return whether a container engine answers."""
    if shutil.which("docker") is None:
        return False
    done = subprocess.run(["docker", "info"], check=False, capture_output=True)
    return done.returncode == 0


def run_with_docker() -> None:
    """Load the image into the engine and run its program."""
    found = build("--output", "docker")
    subprocess.run(["docker", "run", "--rm", str(found["uri"]), *COMMAND], check=True)


def run_unpacked(layout: Path) -> None:
    """Unpack the layers in order and run the program in the folder."""
    config, layers = read_layout(layout)
    with tempfile.TemporaryDirectory(prefix="imagekit-demo-") as folder:
        for layer in layers:
            subprocess.run(
                ["tar", "-xzf", str(layer), "-C", folder, "--no-same-owner"], check=True
            )
        environment = dict(item.split("=", 1) for item in config["Env"])
        inside = f'cd "{config["WorkingDir"]}" && exec "$@"'
        words = ["chroot", folder, "/bin/sh", "-c", inside, "sh", *COMMAND]
        if os.geteuid() != 0:
            words = ["unshare", "--map-root-user", *words]
        subprocess.run(words, check=True, env=environment)


def read_layout(layout: Path) -> tuple[dict[str, list[str]], list[Path]]:
    """Return the config of the layout's image and its layers, bottom first."""

    def blob(digest: str) -> Path:
        return layout / "blobs" / "sha256" / digest.partition(":")[2]

    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(blob(index["manifests"][0]["digest"]).read_text())
    config = json.loads(blob(manifest["config"]["digest"]).read_text())
    return config["config"], [blob(item["digest"]) for item in manifest["layers"]]


def main() -> None:
    os.environ["DEMO_BASE"] = base()
    with tempfile.TemporaryDirectory(prefix="imagekit-demo-") as folder:
        layout = Path(folder) / "layout"
        words = ("--output", f"oci:{layout}")
        say("building examples/demo/images.py, with no engine")
        first = build(*words)
        size = sum(layer["size"] for layer in first["layers"])  # type: ignore[index,misc]
        print(f"{first['uri']}\n{first['digest']}  {size / 1e6:.0f} MB", flush=True)
        say("building it again")
        second = build(*words)
        assert second["reused"], second
        assert second["digest"] == first["digest"]
        print(f"reused, in {second['seconds']} s", flush=True)
        if engine():
            say("running a program in it, with Docker")
            run_with_docker()
        else:
            say("no container engine answers: unpacking the image to run a program")
            run_unpacked(layout)
    say("done")


if __name__ == "__main__":
    main()
