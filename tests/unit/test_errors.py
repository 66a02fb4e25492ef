"""The error tree, its exit codes, and the fidelity contract that ends in one of them."""

from __future__ import annotations

import re

import pytest

from xlsr_cli import errors
from xlsr_cli.errors import ExitCode, NotKeptError, XlsrError
from xlsr_cli.notices import Notice, enforce

KINDS = XlsrError.__subclasses__()

LOSS = Notice(code="alpha-dropped", message="JPEG has no alpha; the picture is laid on white")
ADVICE = Notice(code="just-so-you-know", message="the name says PNG, the content is JPEG", loss=False)


def test_every_kind_of_error_has_its_own_exit_code() -> None:
    codes = [kind.exit_code for kind in KINDS]
    assert len(set(codes)) == len(codes)
    assert {*codes, XlsrError.exit_code} | {ExitCode.OK, ExitCode.INTERRUPTED} == set(ExitCode)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = dict(re.findall(r"(\w+Error) +(\d+)", errors.__doc__ or ""))
    assert drawn == {kind.__name__: str(int(kind.exit_code)) for kind in [XlsrError, *KINDS]}


def test_the_numbers_never_change() -> None:
    assert [int(code) for code in ExitCode] == [*range(10), 130]


def test_strict_turns_a_loss_into_an_error_that_names_file_and_code() -> None:
    with pytest.raises(NotKeptError, match=r"a\.png: JPEG has no alpha.*alpha-dropped.*strict=True"):
        enforce([ADVICE, LOSS], strict=True, name="a.png")


@pytest.mark.parametrize(("notices", "strict"), [([LOSS], False), ([ADVICE], True), ([], True)])
def test_what_is_no_loss_or_not_strict_passes(notices: list[Notice], strict: bool) -> None:
    enforce(notices, strict=strict, name="a.png")
