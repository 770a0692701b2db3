"""The script that makes what uv writes about itself equal in every build."""

from __future__ import annotations

import json

from imagekit.plan import Distribution

#: Where the script is in the stage that installs.
SCRIPT_PATH = "/imagekit/records.py"

#: Run as ``records.py VENV RECORDS CREATED``, with the base's Python; standard library
#: only. What it writes is what every builder of imagekit writes (wheel spec, "Recording
#: installed projects"): who installed, what was asked for, and no times. The time of
#: the files is set at once, for commands that compile modules write it down.
SCRIPT = '''\
"""Makes what uv writes about what it installed equal in every build."""
import base64, csv, hashlib, json, os, pathlib, re, sys

venv, records = map(pathlib.Path, sys.argv[1:3])
created = int(sys.argv[3])
wanted = json.loads(records.read_text(encoding="utf-8"))
(venv / ".lock").unlink()
for record in venv.glob("lib/python*/site-packages/*.dist-info/RECORD"):
    info = record.parent
    name = re.sub("[-_.]+", "-", info.stem.rpartition("-")[0]).lower()
    own = {"INSTALLER": b"imagekit"}
    if name in wanted["requested"]:
        own["REQUESTED"] = b""
    if name in wanted["direct_urls"]:
        own["direct_url.json"] = wanted["direct_urls"][name].encode()
    written = {*own, "REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json"}
    with record.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file)
                if row[0] not in {f"{info.name}/{item}" for item in written}]
    for item in written:
        path = info / item
        if path.exists():
            path.unlink()
    for item, data in own.items():
        (info / item).write_bytes(data)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
        digest = digest.rstrip(b"=").decode()
        rows.append([f"{info.name}/{item}", f"sha256={digest}", str(len(data))])
    rows.sort(key=lambda row: [field.encode() for field in row])
    with record.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\\n").writerows(rows)
for path in venv.rglob("*"):
    os.utime(path, (created, created), follow_symlinks=False)
'''


def records(distributions: tuple[Distribution, ...]) -> str:
    """Return what the script needs to know of *distributions*, as JSON."""
    value = {
        "requested": [item.name for item in distributions if item.requested],
        "direct_urls": {
            item.name: item.direct_url
            for item in distributions
            if item.direct_url is not None
        },
    }
    return json.dumps(value, indent=1, sort_keys=True) + "\n"
