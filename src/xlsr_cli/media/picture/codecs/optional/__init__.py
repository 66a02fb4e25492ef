"""Formats that take a library which an extra of this package installs."""

from __future__ import annotations

import importlib
from types import ModuleType

from xlsr_cli.formats import Format
from xlsr_cli.media.picture.damage import missing_library


def library_of(format: Format, name: str) -> ModuleType:
    """The library that reads ``format``. Raises :class:`InputError` about ``name`` where it is missing."""
    try:
        return importlib.import_module(format.library)
    except ImportError as error:
        raise missing_library(format, name) from error
