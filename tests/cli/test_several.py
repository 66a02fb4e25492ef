"""Several inputs at once, short forms of commands, and other names of stdout."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.pictures import photo, write
from xlsr_cli.cli.app import main

Capture = pytest.CaptureFixture[str]
COMMAND = [sys.executable, "-m", "xlsr_cli"]
NOT_WINDOWS = pytest.mark.skipif(sys.platform == "win32", reason="has no such names")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        write(tmp_path / name, photo(20, 10))
    return tmp_path


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_fails_is_counted_and_the_rest_is_done(here: Path, capsys: Capture) -> None:
    assert main(["upscale", "a.png", "missing.png", "b.png", "--json"]) == 7
    said = capsys.readouterr()
    assert [json.loads(line)["output"] for line in said.out.splitlines()] == ["a_x2.png", "b_x2.png"]
    assert said.err.splitlines() == [
        "error: missing.png does not exist",
        "error: 1 of 3 inputs failed; the others are done",
    ]


def test_two_inputs_never_share_one_output(here: Path, capsys: Capture) -> None:
    """It is said before the work."""
    (here / "below").mkdir()
    write(here / "below" / "a.png", photo(6, 4))
    write(here / "a.jpg", photo(6, 4))
    for words, output in (
        (["a.png", "below/a.png", "b.png", "out/"], "out/a.png"),
        (["a.png", "a.jpg", "b.png", "--format", "webp"], "a_x2.webp"),
        (["a.jpg", "a.png", "b.png", "-o", "other/", "--format", "webp"], "other/a.webp"),
    ):
        assert main(["upscale", *words]) == 7
        said = capsys.readouterr().err.splitlines()
        assert f"{output} is already the result of {words[0]}; give them different folders" in said[0]
        assert said[-1] == "error: 1 of 3 inputs failed; the others are done"
    assert tree(here / "out") == ["a.png", "b.png"]


def test_the_same_input_counts_once(here: Path, capsys: Capture) -> None:
    (here / "list").write_bytes(b"a.png\r\n\r\nb.png\r\na.png")
    assert main(["upscale", "a.png", "b.png", "*.png", "--files-from", "list", "-o", "out/"]) == 0
    assert tree(here / "out") == ["a.png", "b.png"]


def test_where_all_fail_no_others_are_done(here: Path, capsys: Capture) -> None:
    (here / "bad").mkdir()
    (here / "bad" / "x.png").write_bytes(b"no picture")
    for words in (["upscale", "x.png", "y.png", "z.png"], ["batch", "bad", "--jobs", "0"]):
        assert main(words) == 7
        assert capsys.readouterr().err.splitlines()[-1].endswith("failed")


def test_a_folder_beside_a_file(here: Path) -> None:
    (here / "in").mkdir()
    write(here / "in" / "c.png", photo(6, 4))
    assert main(["upscale", "in", "a.png"]) == 0
    assert {"in_x2/c.png", "a_x2.png"} <= set(tree(here))


def test_what_stands_for_upscale(here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["[ab].png", "-o", "out/"]) == 0
    assert tree(here / "out") == ["a.png", "b.png"]
    with (here / "a.png").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert main(["-", "piped.png"]) == 0
    assert (here / "piped.png").exists()
    assert capsys.readouterr().err.count("is short for 'xlsr upscale") == 2


def test_a_folder_that_stays_empty_is_taken_away(here: Path) -> None:
    (here / "no.png").write_bytes(b"no picture")
    assert main(["upscale", "no.png", "out/"]) == 3
    assert not (here / "out").exists()


def test_two_arguments_are_an_input_and_an_output(here: Path, capsys: Capture) -> None:
    assert main(["upscale", "a.png", "b.png"]) == 4
    assert "-o FOLDER to enlarge both" in capsys.readouterr().err
    assert main(["upscale", "a.png", "b.png", "--overwrite"]) == 0


def test_one_page_shows_all(here: Path) -> None:
    assert main(["upscale", "a.png", "b.png", "c.png", "--html", "page.html"]) == 7
    page = (here / "page.html").read_text("utf-8")
    assert "a_x2.png" in page
    assert "b_x2.png" in page


@pytest.mark.parametrize("word", ["--crf=20", "--format=y4m"])
def test_options_that_no_input_obeys_are_refused(here: Path, word: str) -> None:
    assert main(["upscale", "a.png", "b.png", "-o", "out", word]) == 2
    assert tree(here) == ["a.png", "b.png"]


def test_a_batch_of_files_folders_and_a_list(here: Path, capsys: Capture) -> None:
    (here / "in" / "deep").mkdir(parents=True)
    for name in ("in/c.png", "in/deep/d.png"):
        write(here / name, photo(6, 4))
    (here / "list").write_text("b.png\nmissing.png\n")
    words = ["batch", "a.png", "in", "--files-from", "list", "--jobs", "0", "-r"]
    assert main(words) == 2
    assert "--out" in capsys.readouterr().err
    assert main([*words, "--out", "out"]) == 7
    assert "missing.png does not exist" in capsys.readouterr().err
    pictures = ["a.png", "b.png", "in/c.png", "in/deep/d.png"]
    assert [name for name in tree(here / "out") if name.endswith(".png")] == pictures
    assert main([*words, "--out", "out"]) == 7
    assert "4 kept from before" in capsys.readouterr().err


def test_a_batch_of_what_a_glob_means(here: Path) -> None:
    assert main(["batch", "b*.png", "-o", "out", "--jobs", "0"]) == 0
    assert [name for name in tree(here / "out") if name.endswith(".png")] == ["b.png"]


def test_a_file_alone_is_upscaled_and_a_folder_is_a_batch(here: Path, capsys: Capture) -> None:
    assert main(["a.png", "--scale", "3"]) == 0
    assert "short for 'xlsr upscale a.png'" in capsys.readouterr().err
    (here / "in").mkdir()
    write(here / "in" / "c.png", photo(6, 4))
    assert main(["in", "--jobs", "0"]) == 0
    assert "short for 'xlsr batch in'" in capsys.readouterr().err
    assert {"a_x3.png", "in_x2/c.png"} <= set(tree(here))


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["upscal", "a.png"], 2, "xlsr has no command 'upscal'; did you mean upscale?"),
        (["models", "lst"], 2, "xlsr models has no command 'lst'; did you mean list?"),
        (["missing.png"], 2, "there is no such file"),
        (["https://a.b/c.png"], 3, "is a URL"),
        (["upscale", "https://a.b/c.png"], 3, "is a URL"),
        (["batch", "ftp://a.b"], 3, "is a URL"),
        (["upscale", "q*.png"], 3, "no file matches q*.png"),
        (["q*.png"], 2, "there is no such file"),
        (["upscale", "a.png", "https://a.b/c.png"], 4, "https://a.b/c.png is a URL"),
        (["batch", ".", "--out", "https://a.b/c"], 4, "is a URL"),
        (["help"], 2, "'xlsr --help' shows the help"),
        (["--scale", "3", "a.png"], 2, "options stand behind the command, as in 'xlsr upscale FILE --scale'"),
        (["upscale", "-a.png"], 2, "if the file is meant, write ./-a.png"),
        (["batch"], 2, "give an input: a folder, files, or a list of them with --files-from"),
    ],
)
def test_mistakes_are_answered_with_what_was_meant(
    here: Path, words: list[str], code: int, says: str, capsys: Capture
) -> None:
    write(here / "-a.png", photo(6, 4))
    assert main(words) == code
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_the_version_has_a_short_flag(flag: str, capsys: Capture) -> None:
    assert main([flag]) == 0
    assert capsys.readouterr().out.startswith("xlsr ")


def test_verbose_speaks_to_people(here: Path, capsys: Capture) -> None:
    assert main(["upscale", "a.png", "--verbose"]) == 0
    said = capsys.readouterr().err
    assert "models: xlsr_x2_rgb_int8\n" in said
    assert "seconds: decode" in said
    assert not set("{}[]'") & set(said.split("\n", 1)[1])


@NOT_WINDOWS
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1"])
@pytest.mark.parametrize("into_a_file", [False, True])
def test_names_of_stdout(here: Path, name: str, into_a_file: bool) -> None:
    words = [*COMMAND, "upscale", "a.png", name]
    if into_a_file:
        with (here / "o.png").open("wb") as file:
            assert subprocess.run(words, stdout=file, check=True).returncode == 0
        data = (here / "o.png").read_bytes()
    else:
        data = subprocess.run(words, capture_output=True, check=True).stdout
    assert (Image.open(io.BytesIO(data)).width, data[1:4]) == (40, b"PNG")


@NOT_WINDOWS
def test_a_pipe_of_the_shell(here: Path) -> None:
    end, start = os.pipe()
    done = subprocess.Popen([*COMMAND, "upscale", "a.png", f"/dev/fd/{start}"], pass_fds=[start])
    os.close(start)
    with os.fdopen(end, "rb") as file:
        assert Image.open(io.BytesIO(file.read())).width == 40
    assert done.wait() == 0
