"""A file is whole or not there; what was there before keeps its permissions, its owner and its links."""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from xlsr_cli.errors import OutputError
from xlsr_cli.media import atomic
from xlsr_cli.media.atomic import atomic_output, check_output, part_name

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such thing")


def write(path: Path, content: bytes = b"new", *, overwrite: bool = False) -> None:
    with atomic_output(path, overwrite=overwrite) as file:
        file.write(content)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_nothing_has_the_name_before_all_is_written(tmp_path: Path) -> None:
    with atomic_output(tmp_path / "out", overwrite=False) as file:
        file.write(b"half")
        file.flush()
        (part,) = names(tmp_path)
        assert part.startswith(".out.xlsr-")
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"half"


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_after_an_exception_all_is_as_before(tmp_path: Path, failure: type[BaseException]) -> None:
    out = tmp_path / "out"
    out.write_bytes(b"old")
    with pytest.raises(failure), atomic_output(out, overwrite=True) as file:
        file.write(b"x" * 100_000)
        raise failure
    assert names(tmp_path) == ["out"]
    assert out.read_bytes() == b"old"


def test_an_existing_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"old")
    with pytest.raises(OutputError, match="exists already; give overwrite=True"):
        write(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"old"


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile_is_refused(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the file system has no hard links, with which this is decided in one step."""
    if not links and hasattr(os, "link"):

        def link(*_: object, **__: object) -> None:
            raise OSError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", link)
    out = tmp_path / "out"
    with pytest.raises(OutputError, match="exists already"), atomic_output(out, overwrite=False) as file:
        file.write(b"mine")
        out.write_bytes(b"somebody else's")
    assert names(tmp_path) == ["out"]
    assert out.read_bytes() == b"somebody else's"
    write(tmp_path / "other")
    assert (tmp_path / "other").read_bytes() == b"new"


@POSIX
def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "out")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640


@POSIX
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o444])
def test_an_overwritten_file_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    out = tmp_path / "out"
    out.write_bytes(b"old")
    out.chmod(mode)
    write(out, overwrite=True)
    assert out.read_bytes() == b"new"
    assert stat.S_IMODE(out.stat().st_mode) == mode


@POSIX
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_an_overwritten_file_keeps_its_owner(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_bytes(b"old")
    os.chown(out, 12345, 23456)
    write(out, overwrite=True)
    assert (out.stat().st_uid, out.stat().st_gid) == (12345, 23456)


@POSIX
@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_is_refused_or_replaced_and_never_followed(tmp_path: Path, exists: bool) -> None:
    real, link = tmp_path / "folder" / "real", tmp_path / "link"
    real.parent.mkdir()
    if exists:
        real.write_bytes(b"old")
    link.symlink_to(real)
    with pytest.raises(OutputError, match="exists already"):
        write(link)
    assert link.is_symlink()
    assert real.exists() == exists
    write(link, overwrite=True)
    assert not link.is_symlink()
    assert link.read_bytes() == b"new"
    assert names(real.parent) == (["real"] if exists else [])
    assert not exists or real.read_bytes() == b"old"


@POSIX
def test_a_link_to_a_folder_and_one_to_itself(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OutputError, match="it is a folder"):
        write(tmp_path / "link", overwrite=True)
    with pytest.raises(OutputError, match="exists already"):
        write(tmp_path / "circle")


@POSIX
def test_a_folder_that_is_a_link_is_the_users_own_choice(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    write(tmp_path / "link" / "out")
    assert names(tmp_path / "folder") == ["out"]


@POSIX
def test_a_named_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write(pipe, b"through")
    reader.join(10)
    assert read == [b"through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@POSIX
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EFBIG])
def test_a_disk_that_refuses_is_one_sentence(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OutputError, match=r"^cannot write .*out: the (disk|file)"):
        write(tmp_path / "out")
    assert names(tmp_path) == []


def test_the_callers_own_errors_stay_theirs(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_output(tmp_path / "out", overwrite=False):
        (tmp_path / "missing").read_bytes()


@pytest.mark.parametrize("name", ["x" * 255, "漢" * 85, "a"])
def test_long_names_have_room_for_the_temporary_one(tmp_path: Path, name: str) -> None:
    assert len(os.fsencode(part_name(name))) <= 255
    write(tmp_path / name)
    assert names(tmp_path) == [name]


def test_what_would_fail_later_is_refused_before(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    for path, word in (
        (tmp_path, "it is a folder"),
        (tmp_path / "no" / "out", "its folder does not exist"),
        (tmp_path / "file", "exists already"),
        (tmp_path / ("x" * 300), "too long"),
    ):
        with pytest.raises(OutputError, match=word):
            check_output(path, overwrite=False)
    check_output(tmp_path / "file", overwrite=True)
    assert names(tmp_path) == ["file"]
