"""Everything that can go wrong, and the exit code that each kind carries.

::

    XlsrError                      1  a bug in xlsr
    ├── UsageError                 2  options that contradict each other or make no sense
    ├── InputError                 3  an input is missing, damaged or of a kind that is not supported
    ├── OutputError                4  an output exists, cannot be written, or the disk is full
    ├── ModelError                 5  a model is unknown, damaged or of the wrong kind
    ├── ResourceError              6  a provider, memory or a core is missing
    ├── ItemsFailedError           7  some items of a batch failed
    ├── NotKeptError               8  something of the input could not be kept, and ``--strict`` was given
    └── BelowThresholdError        9  a comparison fell under ``--fail-under``

130 means interrupted (Ctrl-C). The numbers are a documented interface: they never change meaning.
"""

from __future__ import annotations

import re
from enum import IntEnum

#: Where bugs are reported.
REPORT_AT = "https://github.com/xlsr/xlsr-cli/issues"


class ExitCode(IntEnum):
    """What the process returns."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    INPUT = 3
    OUTPUT = 4
    MODEL = 5
    RESOURCE = 6
    ITEMS_FAILED = 7
    NOT_KEPT = 8
    BELOW_THRESHOLD = 9
    INTERRUPTED = 130


class XlsrError(Exception):
    """Base of every error that xlsr raises on purpose.

    The message is one sentence for people: what failed, which file, what to do. It is written with the
    flags of the command line; ``str`` names the parameters of the Python API instead.
    """

    exit_code: ExitCode = ExitCode.INTERNAL

    def __str__(self) -> str:
        return in_parameters(self.in_flags)

    @property
    def in_flags(self) -> str:
        """The message for a command line."""
        return super().__str__()


def in_parameters(message: str) -> str:
    """``message`` with parameters of the Python API in the place of flags; commands stay as they are.

    >>> in_parameters("out.png exists already; give --overwrite, or raise --max-pixels")
    'out.png exists already; give overwrite=True, or raise max_pixels'
    """
    return re.sub(_FLAG, lambda match: match["command"] or _parameter(match["flag"]), message)


#: The options that are on or off. A test compares them with those that are declared.
SWITCHES = frozenset({"overwrite", "lossless", "strip", "strict", "deinterlace", "copy_only", "reuse"})

_FLAG = r"(?P<command>'xlsr [^']*'|\bpip (?:un)?install [^;,)]*)|(?<![\w-])--(?P<flag>[a-z][a-z0-9-]*)"


def _parameter(flag: str) -> str:
    name = flag.removeprefix("no-").replace("-", "_")
    if name not in SWITCHES:
        return flag.replace("-", "_")
    return f"{name}={not flag.startswith('no-')}"


class UsageError(XlsrError):
    """Options that contradict each other or make no sense."""

    exit_code = ExitCode.USAGE


class InputError(XlsrError):
    """An input is missing, damaged or of a kind that is not supported."""

    exit_code = ExitCode.INPUT


class OutputError(XlsrError):
    """An output exists already, cannot be written, or the disk is full."""

    exit_code = ExitCode.OUTPUT


class ModelError(XlsrError):
    """A model is unknown, damaged or of the wrong kind."""

    exit_code = ExitCode.MODEL


class ResourceError(XlsrError):
    """A provider, memory or another resource of the machine is missing."""

    exit_code = ExitCode.RESOURCE


class ItemsFailedError(XlsrError):
    """Some items of a batch failed; the others are done."""

    exit_code = ExitCode.ITEMS_FAILED


class NotKeptError(XlsrError):
    """Something of the input could not be kept, and ``--strict`` was given."""

    exit_code = ExitCode.NOT_KEPT


class BelowThresholdError(XlsrError):
    """A comparison fell under the threshold that was asked for."""

    exit_code = ExitCode.BELOW_THRESHOLD
