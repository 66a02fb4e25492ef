"""What a worker of a cluster must have in common with the machine that asks; a refusal names both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import pytest

import xlsr_cli
from xlsr_cli.jobs.batch.executors import cluster
from xlsr_cli.jobs.batch.executors.cluster import Terms, objection
from xlsr_cli.jobs.batch.recipe import recipe_for
from xlsr_cli.options import PictureOptions, VideoOptions


@pytest.fixture
def terms(tmp_path: Path) -> Terms:
    """Terms that this process complies with."""
    (tmp_path / "token").write_text("x")
    return Terms(
        version=xlsr_cli.__version__,
        encoders=cluster._encoders(),
        recipe=recipe_for(PictureOptions(), VideoOptions()),
        folder=tmp_path,
        token_path=tmp_path / "token",
        token="x",
    )


def test_the_same_machine_complies(terms: Terms) -> None:
    assert objection(terms) is None
    assert objection(replace(terms, encoders="")) is None


def test_another_version(terms: Terms) -> None:
    said = objection(replace(terms, version="9.9.9"))
    assert said == (
        f"has xlsr {xlsr_cli.__version__}, and this machine has 9.9.9; install the same everywhere"
    )


def test_other_networks(terms: Terms) -> None:
    said = objection(replace(terms, recipe=replace(terms.recipe, key="0123456789abcdef")))
    assert said is not None
    assert f"has other networks ({terms.recipe.key[:8]}) than this machine (01234567)" in said


def test_other_encoders(terms: Terms, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are films."""
    ours = terms.encoders
    assert av.__version__ in ours
    monkeypatch.setattr(av, "library_versions", {**av.library_versions, "libavcodec": (1, 2, 3)})
    said = objection(terms)
    assert said is not None
    assert said.startswith(f"has av {av.__version__} with libavcodec 1.2.3, and this machine has {ours};")
    assert objection(replace(terms, encoders="")) is None


def test_other_storage(terms: Terms, tmp_path: Path) -> None:
    for other in (replace(terms, token="y"), replace(terms, folder=tmp_path / "nowhere")):
        said = objection(other)
        assert said is not None
        assert "it has to be on storage that all machines share" in said


def test_a_worker_that_knows_no_terms() -> None:
    said = cluster._reason(AttributeError("no attribute 'objection'"))
    assert said.startswith(f"has another version of xlsr than this machine ({xlsr_cli.__version__}), or none")
