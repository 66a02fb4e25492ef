"""The inputs of a command line: files, folders, quoted patterns and lists of names."""

from __future__ import annotations

import codecs
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from xlsr_cli.declaration import option
from xlsr_cli.engine.reading import read_at_most
from xlsr_cli.errors import InputError, OutputError, UsageError
from xlsr_cli.formats import HEAD_BYTES
from xlsr_cli.media.sniff import Kind, kind_of

#: ``scheme://``; a single letter before it would be a drive of Windows.
_URL = r"[A-Za-z][A-Za-z0-9+.-]+://"
#: The same after :class:`~pathlib.Path` has made one slash of two.
_URL_AS_PATH = r"[A-Za-z][A-Za-z0-9+.-]+:/"
STANDARD_STREAM = "-"
#: What stands for the number of a picture in the name of many, with its zero and its width.
NUMBER = r"%(0?)(\d*)d"


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """Inputs that a file names. ``files_from``: that file, or ``-`` for stdin; ``null``: NUL ends a name."""

    files_from: str | None = option(
        None, "Read names of inputs from a file, one per line; - for stdin.", "files", value="LIST"
    )
    null: bool = option(
        False, "Names in LIST end with NUL, as those of 'find -print0' do.", "files", short="-0"
    )

    def __post_init__(self) -> None:
        if self.null and self.files_from is None:
            raise UsageError("--null belongs to --files-from; give both")


def all_inputs(arguments: Iterable[str], lists: ListOptions) -> list[str]:
    """The inputs: arguments, with quoted patterns replaced by the files that match, then those of the list.

    A pattern without any match stays as it is; :func:`refuse_no_file` refuses it later. Raises
    :class:`InputError` where the list cannot be read, :class:`UsageError` where there is no input at all.
    """
    named = [] if lists.files_from is None else names_in(_read_list(lists.files_from), null=lists.null)
    inputs = [name for argument in arguments for name in matches(argument)] + named
    if not inputs:
        raise UsageError(
            "give an input: a file, a folder, or - for stdin"
            if lists.files_from is None
            else f"the list {_shown(lists.files_from)} names no file"
        )
    return inputs


class Item(NamedTuple):
    """One input, and where its result goes.

    ``output``: a file, or ``-`` for stdout. Without it, the result goes into the folder ``into`` under the
    input's own name, or, without that, beside the input under a new name.
    """

    source: str
    output: str | None = None
    into: Path | None = None

    @property
    def to_stdout(self) -> bool:
        """Whether the result goes to stdout."""
        return (self.output or self.source) == STANDARD_STREAM


def items_of(arguments: list[str], output: str | None, lists: ListOptions, label: str) -> list[Item]:
    """Each input with its output; which argument is which follows the rules of ``cp``.

    Of two arguments, the second is the output, unless the first one is a folder and the second a file. Of
    more, the last is the output where it is a folder, or ends in a slash. With ``output`` (``--output``) or a
    list, all arguments are inputs; one that is given twice counts once. A folder as input stands for the
    files in it; their results go into ``<folder>_<label>``, or into its name below the output.

    Raises :class:`UsageError` for several inputs and one output file, and what :func:`all_inputs` raises.
    """
    two = len(arguments) == 2 and not (_is_a_folder(arguments[0]) and Path(arguments[1]).is_file())
    has_output = two or (len(arguments) > 2 and _is_folder(arguments[-1]))
    if output is None and lists.files_from is None and has_output:
        *arguments, output = arguments
    if output is not None:
        refuse_no_file_as_output(output)
    names = list(dict.fromkeys(all_inputs(arguments, lists)))
    is_file = output is not None and not _is_folder(output)
    several = len(names) > 1 or (_is_a_folder(names[0]) and not is_file)
    if several and STANDARD_STREAM in names:
        raise UsageError("- stands for stdin, which is read alone; give it without other inputs")
    if output is None or (is_file and not several):
        return [item for name in names for item in _items(name, output, None, label)]
    if is_file and (output == STANDARD_STREAM or Path(output).suffix):
        raise UsageError(f"{output} cannot hold the results of several inputs; give a folder, such as out/")
    if names == [STANDARD_STREAM]:
        raise UsageError("what comes from stdin has no name; give an output file, not a folder")
    return [item for name in names for item in _items(name, None, Path(output), label)]


def _items(name: str, output: str | None, into: Path | None, label: str) -> list[Item]:
    if output is not None or not _is_a_folder(name):
        return [Item(source=name, output=output, into=into)]
    folder = Path(os.path.abspath(name))  # noqa: PTH100 - resolve() would follow links
    below = folder.with_name(f"{folder.name}_{label}") if into is None else into / folder.name
    # An empty folder stays in the list, so that it is counted as a failure.
    return [Item(source=str(path), into=below) for path in files_in(Path(name))] or [Item(source=name)]


def _is_folder(output: str) -> bool:
    """Whether an output is meant as a folder: it is one, or ends in a slash."""
    return output.endswith(("/", os.sep)) or _is_a_folder(output)


def _is_a_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except (OSError, ValueError):
        return False


def below_one_folder(names: list[str]) -> tuple[Path, tuple[str, ...]]:
    """The folder that all inputs have in common, and each input's path below it, with forward slashes.

    Raises :class:`UsageError` where they have none: on Windows, on different drives.
    """
    paths = [os.path.abspath(name) for name in dict.fromkeys(names)]  # noqa: PTH100 - no link is followed
    try:
        folder = Path(os.path.commonpath([os.path.dirname(path) for path in paths]))  # noqa: PTH120
    except ValueError as error:
        raise UsageError("the inputs lie on different drives; give those of one drive at a time") from error
    return folder, tuple(dict.fromkeys(Path(path).relative_to(folder).as_posix() for path in paths))


def names_in(data: bytes, *, null: bool) -> list[str]:
    """The names in a list, without empty ones. UTF-16 with its mark is what PowerShell writes."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        data = data.decode("utf-16", "replace").encode()
    data = data.removeprefix(codecs.BOM_UTF8)
    names = data.split(b"\0") if null else [line.rstrip(b"\r") for line in data.split(b"\n")]
    return [os.fsdecode(name) for name in names if name]


def refuse_no_file(name: str) -> None:
    """Raise :class:`InputError` for an input that cannot be a file: a URL, or a glob without a match."""
    if re.match(_URL, name):
        raise InputError(
            f"{name} is a URL, and xlsr opens nothing on the network; download it first, "
            "or pipe it: curl -L URL | xlsr upscale - output.png"
        )
    if _has_wildcards(name) and not os.path.lexists(name):
        raise InputError(f"no file matches {name}")


def is_pattern(name: str) -> bool:
    """Whether ``name`` stands for numbered pictures: it holds one ``%d`` or ``%05d`` in its last part."""
    return len(re.findall(NUMBER, Path(name).name)) == 1 and not Path(name).exists()


def refuse_no_file_as_output(name: str) -> None:
    """Raise :class:`OutputError` for a URL."""
    if re.match(_URL_AS_PATH, name):
        raise OutputError(f"{name} is a URL, and xlsr writes nothing to the network; give a file or a folder")


def files_in(folder: Path) -> list[Path]:
    """The pictures, animations and videos that lie in ``folder`` itself, by name, without hidden files.

    None where it cannot be read.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    return [
        path for path in entries if not path.name.startswith(".") and kind_of_file(str(path)) != "unknown"
    ]


def kind_of_file(name: str) -> Kind:
    """What a file is by its content; ``unknown`` also where it cannot be read."""
    try:
        # Reading a named pipe would block.
        return kind_of(read_head(Path(name), HEAD_BYTES), name) if Path(name).is_file() else "unknown"
    except (InputError, OSError, ValueError):
        return "unknown"


def read_head(path: Path, count: int) -> bytes:
    """The first ``count`` bytes of an input file. Raises :class:`InputError` when it cannot be read."""
    with reading(path) as file:
        return file.read(count)


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """The file ``path``; errors of the system become an :class:`InputError`."""
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder; 'xlsr batch {path}' enlarges what it holds") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in the name
        raise InputError(f"cannot read {str(path)!r}: the system does not accept this name") from error


def _has_wildcards(name: str) -> bool:
    return any(mark in name for mark in "*?[")


def matches(argument: str) -> list[str]:
    """The files that match a quoted pattern; else the argument itself."""
    if not _has_wildcards(argument) or re.match(_URL, argument) or os.path.lexists(argument):
        return [argument]
    import glob

    found = glob.glob(argument, recursive=True)  # noqa: PTH207 - whatever the glob begins with
    return sorted(found) or [argument]


def _shown(name: str) -> str:
    return "on stdin" if name == STANDARD_STREAM else name


def _read_list(name: str) -> bytes:
    if name == STANDARD_STREAM:
        if sys.stdin is None or sys.stdin.isatty():
            raise InputError("--files-from - reads the list from stdin, and none comes; redirect one to it")
        return _bounded(sys.stdin.buffer, "stdin")
    try:
        with Path(name).open("rb") as file:
            return _bounded(file, name)
    except OSError as error:
        raise InputError(f"cannot read the list {name}: {error.strerror or error}") from error


#: Of a list: a million names of a hundred letters.
_MOST_BYTES = 100 << 20


def _bounded(stream: BinaryIO, name: str) -> bytes:
    data = read_at_most(stream, _MOST_BYTES)
    if data is None:
        raise InputError(
            f"the list {name} has more than {_MOST_BYTES >> 20} MB; give the names in several lists"
        )
    return data
