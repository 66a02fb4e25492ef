"""What inputs stand for: several, folders, globs, lists, and where their results go."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.pictures import photo, write
from xlsr_cli.errors import InputError, UsageError
from xlsr_cli.jobs.inputs import (
    Item,
    ListOptions,
    all_inputs,
    below_one_folder,
    items_of,
    names_in,
    refuse_no_file,
)

NO_LIST = ListOptions()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png", "c[1].png"):
        write(tmp_path / name, photo(6, 4))
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").mkdir()
    write(tmp_path / "folder" / "x.png", photo(6, 4))
    (tmp_path / "folder" / "notes.txt").write_text("no picture")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "output", "expected"),
    [
        (["a.png"], None, [Item(source="a.png")]),
        (["a.png", "o.png"], None, [Item(source="a.png", output="o.png")]),
        (["a.png", "-"], None, [Item(source="a.png", output="-")]),
        (["a.png", "out"], None, [Item(source="a.png", output="out")]),
        (["a.png", "out/"], None, [Item(source="a.png", into=Path("out"))]),
        (["a.png", "empty"], None, [Item(source="a.png", into=Path("empty"))]),
        (["a.png", "b.png", "no.png"], None, [Item(source=name) for name in ("a.png", "b.png", "no.png")]),
        (["a.png", "b.png", "out/"], None, [Item(source=n, into=Path("out")) for n in ("a.png", "b.png")]),
        (["a.png", "b.png"], "out", [Item(source=n, into=Path("out")) for n in ("a.png", "b.png")]),
        (["a.png"], "o.png", [Item(source="a.png", output="o.png")]),
        (["?.png"], None, [Item(source="a.png"), Item(source="b.png")]),
        (["c[1].png"], None, [Item(source="c[1].png")]),
        (["q*.png"], None, [Item(source="q*.png")]),
        (["folder"], "out/", [Item(source=str(Path("folder/x.png")), into=Path("out/folder"))]),
        (["empty"], None, [Item(source="empty")]),
        (["folder", "o.png"], None, [Item(source="folder", output="o.png")]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and isinstance(value[0], str) else "",
)
def test_where_results_go(arguments: list[str], output: str | None, expected: list[Item]) -> None:
    assert items_of(arguments, output, NO_LIST, "x2") == expected


def test_a_folders_results_go_beside_it_together(here: Path) -> None:
    assert items_of(["folder"], None, NO_LIST, "x2") == [
        Item(source=str(Path("folder/x.png")), into=here / "folder_x2")
    ]


@pytest.mark.parametrize(
    ("arguments", "output", "says"),
    [
        ([], None, "give an input"),
        (["a.png", "b.png"], "o.png", "o.png cannot hold the results of several"),
        (["a.png", "b.png"], "-", "cannot hold"),
        (["a.png", "-", "b.png"], None, "stdin, which is read alone"),
        (["-"], "out/", "stdin has no name"),
    ],
)
def test_what_is_ambiguous_is_refused(arguments: list[str], output: str | None, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        items_of(arguments, output, NO_LIST, "x2")


@pytest.mark.parametrize(
    ("data", "null"),
    [
        (b"a.png\nb c.png\n", False),
        (b"a.png\r\n\r\nb c.png", False),
        (b"a.png\0b c.png\0", True),
        ("\ufeffa.png\nb c.png".encode(), False),
        ("a.png\r\nb c.png\r\n".encode("utf-16"), False),
    ],
)
def test_the_names_in_a_list(data: bytes, null: bool) -> None:
    assert names_in(data, null=null) == ["a.png", "b c.png"]


def test_names_in_a_list_are_no_globs_and_may_hold_line_breaks(here: Path) -> None:
    (here / "list").write_bytes(b"*.png\0two\nlines.png\0")
    lists = ListOptions(files_from="list", null=True)
    assert all_inputs(["a.png"], lists) == ["a.png", "*.png", "two\nlines.png"]


def test_lists_that_are_none(here: Path) -> None:
    (here / "list").write_bytes(b"\n")
    with pytest.raises(UsageError, match="names no file"):
        all_inputs([], ListOptions(files_from="list"))
    with pytest.raises(InputError, match="cannot read the list missing"):
        all_inputs([], ListOptions(files_from="missing"))


@pytest.mark.parametrize(
    ("name", "says"), [("https://a.b/c.png", "is a URL.* download it first"), ("q*.png", "no file matches")]
)
def test_what_can_be_no_file_is_said(name: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        refuse_no_file(name)


@pytest.mark.parametrize("name", ["C:/pictures/a.png", "a.png", "c[1].png", "missing.png"])
def test_what_may_be_a_file_passes(name: str) -> None:
    refuse_no_file(name)


def test_the_folder_that_inputs_have_in_common(here: Path) -> None:
    names = ["a.png", str(Path("folder", "x.png")), "empty", "./a.png"]
    assert below_one_folder(names) == (here, ("a.png", "folder/x.png", "empty"))
    assert below_one_folder(["folder/x.png"]) == (here / "folder", ("x.png",))
