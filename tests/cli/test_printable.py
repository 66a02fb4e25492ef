"""Control characters in the name of a file never reach a terminal."""

from __future__ import annotations

import contextlib
import json
import sys
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlsr_cli.cli.app import main
from xlsr_cli.cli.printable import json_line, printable

Capture = pytest.CaptureFixture[str]
#: Colours and titles; a line of our own; reversed text; C1's short form of an escape; a forged message.
NAMES = [
    "\x1b[31mred\x1b]0;title\x07.png",
    "two\nerror: all is lost.png",
    "gnp\u202ejpg.png",
    "c1\x9b2J.png",
    "r\rerror.png",
]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")


def is_harmless(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


@given(st.text())
def test_nothing_that_is_obeyed_is_left(text: str) -> None:
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in printable(text))
    assert not set(printable(text)) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    assert json.loads(json_line(text)) == text


def test_bytes_that_are_no_text_and_letters_of_all_scripts() -> None:
    assert printable("a\udcffb") == "a\\xffb"
    assert printable("漢字　é 🎨 👩\u200d👧") == "漢字　é 🎨 👩\u200d👧"
    assert printable("a\u202eb\U000e0001") == "a\\u202eb\\U000e0001"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "words",
    [
        ("batch", "IN", "--dry-run"),
        ("batch", "IN", "--dry-run", "--json"),
        ("batch", "IN", "--jobs", "0", "--verbose"),
        ("batch", "IN", "--jobs", "0", "--json"),
        ("upscale", "NAME"),
        ("upscale", "NAME", "--dry-run"),
        ("upscale", "NAME", "--json"),
        ("upscale", "BAD", "--debug"),
        ("compare", "NAME", "NAME"),
        ("upscale", "NAME", "--quality", "NAME"),
    ],
    ids=" ".join,
)
def test_every_way_to_the_terminal(tmp_path: Path, name: str, words: tuple[str, ...], capfd: Capture) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    good, bad = folder / name, folder / f"bad {name}"
    cv2.imwrite(str(tmp_path / "plain.png"), np.zeros((6, 8, 3), np.uint8))
    (tmp_path / "plain.png").rename(good)
    bad.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    places = {"IN": str(folder), "NAME": str(good), "BAD": str(bad)}
    with contextlib.suppress(SystemExit):
        main([places.get(word, word) for word in words])
    out, err = capfd.readouterr()
    assert is_harmless(out), out
    assert is_harmless(err), err
    assert not any(line.startswith("error: all") for line in err.splitlines())
    for line in out.splitlines() if "--json" in words else []:
        json.loads(line)
