"""The page ``docs/settings.md``, made from the table of settings.

``python -m imagekit.settings_page > docs/settings.md`` writes it; a test compares.
"""

from __future__ import annotations

import sys

from imagekit.settings_table import OTHER_VARIABLES, SETTINGS

_HEAD = """\
# Settings

<!-- Made by `python -m imagekit.settings_page`; edit imagekit/settings_table.py. -->

A setting has the value of the first of these that gives one:

1. an argument: an option of the command line, or `settings=` of `imagekit.build`;
2. the environment variable;
3. the project's file: the nearest `imagekit.toml`, or `pyproject.toml` with a table
   `[tool.imagekit]`, from the working directory upward;
4. the user's file: `$XDG_CONFIG_HOME/imagekit/config.toml`, else
   `~/.config/imagekit/config.toml`;
5. the default.

Files are looked at key by key: what the project's file does not set is taken from the
user's. A list or table replaces the other one, it is not added to it. An empty variable
is no value. `imagekit config` shows each value and where it came from.

A key or variable that does not exist is an error, as is a value of the wrong kind.

| Key | Variable | Default | Meaning |
|---|---|---|---|
"""

_MIDDLE = """
In a variable, lists are separated by commas, and a table is written as pairs:

```sh
IMAGEKIT_PLATFORMS="linux/amd64,linux/arm64"
IMAGEKIT_REGISTRY_MIRRORS="docker.io=127.0.0.1:5000,ghcr.io=mirror.lan/ghcr"
```

Relative paths in a file start in the folder of that file, others in the working
directory; `~` is the home folder. Sizes are numbers of bytes, or numbers with a unit:
`kB`, `MB`, `GB` and `TB` are powers of 1000, `KiB`, `MiB`, `GiB` and `TiB` of 1024.

A file with every setting, `imagekit.toml`; in `pyproject.toml` the same stands below
`[tool.imagekit]`:

```toml
"""

_TAIL = """\
```

## Other variables

| Variable | Meaning |
|---|---|
"""


def page() -> str:
    """Return the text of the page."""
    rows = "".join(
        f"| `{item.key}` | `{item.variable}` | {item.default} | {item.meaning} |\n"
        for item in SETTINGS
    )
    examples = "".join(f"{item.key} = {item.example}\n" for item in SETTINGS)
    others = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in OTHER_VARIABLES)
    return f"{_HEAD}{rows}{_MIDDLE}{examples}{_TAIL}{others}"


if __name__ == "__main__":
    sys.stdout.write(page())
