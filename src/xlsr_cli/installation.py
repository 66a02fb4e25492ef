"""Which libraries are installed, and whether they are new enough.

Versions are read from the names of folders, before any library is imported: a library that is too old would
fail with a traceback that does not say so, and ``importlib.metadata`` would take a tenth of the time that a
small picture takes. This module runs on every Python 3, so that it can say that a Python is too old.
"""

from __future__ import annotations

import os
import re
import sys

OLDEST_PYTHON = (3, 11)

#: All of them contain a module ``cv2`` and overwrite each other's files.
OPENCVS = (
    "opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless",
)  # fmt: skip


#: The folder of a distribution: its name and its version.
_DISTRIBUTION = re.compile(r"(.+?)-(\d[^-]*)(?:-[^-]+)?\.(?:dist|egg)-info$")


def python_complaint() -> str | None:
    """A sentence if this Python is too old, else None."""
    if sys.version_info >= OLDEST_PYTHON:
        return None
    needed, found = (".".join(map(str, version[:3])) for version in (OLDEST_PYTHON, sys.version_info))
    return f"xlsr needs Python {needed} or newer, and this is Python {found}; install it with a newer one"


def library_complaint() -> str | None:
    """A sentence if a library is older than xlsr needs; None also if versions cannot be found."""
    installed = installed_versions()
    for name, needed in needed_versions().items():
        found = installed.get(name)
        if found is not None and _number(found) < _number(needed):
            return (
                f"xlsr needs {name} {needed} or newer, and {found} is installed; "
                f'run: pip install --upgrade "{name}>={needed}"'
            )
    return None


def opencv_clash() -> str | None:
    """A sentence if several distributions of OpenCV are installed, which overwrite each other, else None."""
    installed = installed_versions()
    several = [f"{name} {installed[name]}" for name in OPENCVS if name in installed]
    if len(several) < 2:
        return None
    return f"{' and '.join(several)} are both installed and overwrite each other's files"


def opencv_remedy() -> str:
    """What to do about :func:`opencv_clash`."""
    several = [name for name in OPENCVS if name in installed_versions()]
    return f"pip uninstall {' '.join(several)}, then pip install opencv-python-headless"


def installed_versions() -> dict[str, str]:
    """Version by distribution (names in lower case with hyphens); the first one on the path counts."""
    found: dict[str, str] = {}
    for folder in sys.path:
        if os.path.basename(folder) in ("site-packages", "dist-packages"):  # noqa: PTH119
            for name in _names(folder):
                match = _DISTRIBUTION.match(name) if name.endswith("-info") else None
                if match:
                    found.setdefault(re.sub(r"[-_.]+", "-", match.group(1)).lower(), match.group(2))
    return found


def needed_versions() -> dict[str, str]:
    """The lowest version of each library, as the metadata of the installed package say."""
    for folder in sys.path:
        for name in _names(folder):
            if name.startswith("xlsr_cli-") and name.endswith(".dist-info"):
                return _required(os.path.join(folder, name, "METADATA"))  # noqa: PTH118
    return {}


def _required(metadata: str) -> dict[str, str]:
    try:
        with open(metadata, encoding="utf-8") as file:  # noqa: PTH123
            header = file.read().partition("\n\n")[0]  # behind it stands the README
    except OSError:
        return {}
    matches = re.finditer(r"^Requires-Dist: ([\w.-]+)\s*>=\s*([\d.]+)$", header, re.MULTILINE)
    return {match.group(1).lower(): match.group(2) for match in matches}


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208
    except OSError:
        return []


def _number(version: str) -> tuple[int, ...]:
    """The release of a version: ``2.0.1rc1`` → (2, 0, 1)."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match.group().split(".")) if match else ()
