"""From a folder of pictures to finished files in ``models/``, in one command.

``python -m training.make --pictures DIR --eval DIR`` trains every recipe in order, exports, checks and
scores every model and writes its record. It may be stopped at any moment; the same command goes on.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import torch

from training.data import NoPictures
from training.recipe import BadRecipe, load_recipe
from training.record import RECORDS, is_recorded, restore_runs, write_record
from training.ship import NotExact, collect, ship, write_manifest
from training.train import git_revision, train
from xlsr_cli.engine.models import ModelSpec, Restore, read_manifest

#: Each recipe after those that it starts from.
ORDER = (
    "quick_x3_rgb",
    *("x3_rgb", "x2_rgb", "x4_rgb"),
    *("x3_rgb_anchored", "x2_rgb_anchored", "x4_rgb_anchored"),
    *("x3_luma_anchored", "x2_luma_anchored", "x4_luma_anchored"),
    *(f"x{scale}_{colour}_float" for scale in (3, 2, 4) for colour in ("rgb", "luma")),
    *(
        f"x{scale}_{kind}_float"
        for scale in (2, 3, 4)
        for kind in ("rgb_near", "rgb_strong", "rgb_light", "rgb_drawing", "luma_strong", "luma_light")
    ),
    *(
        "x2_rgb_strong_late_float",
        "x2_rgb_strong_avif_float",
        "x2_rgb_strong_end_float",
        "x2_rgb_light_late_float",
        "x2_luma_strong_late_float",
        "x2_luma_light_late_float",
    ),
    *("x3_rgb_light_near_float", "x3_rgb_light_end_float"),
    *(f"x4_rgb_light_{phase}_float" for phase in ("near", "late", "end", "last")),
    *(
        f"x{scale}_{kind}_int8"
        for scale in (2, 3, 4)
        for kind in ("rgb", "luma", "rgb_strong", "rgb_light", "rgb_drawing", "luma_strong", "luma_light")
    ),
)
RECIPES = Path(__file__).parent / "recipes"


def make(pictures: Path, evaluation: Path | None, runs: Path, models: Path) -> None:
    """Train what is not trained yet, then write ``models`` and the records."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for name in ORDER:
        train(load_recipe(RECIPES / f"{name}.toml"), pictures, runs, device)
    finish(evaluation, runs, models)


def finish(
    evaluation: Path | None, runs: Path, models: Path, only: Callable[[str], bool] = lambda name: True
) -> None:
    """Export, check, score and record the networks of the runs whose names ``only`` accepts.

    Other networks that ``models`` describes stay.
    """
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    specs = []
    for trained in collect(runs):
        if not only(trained.name):
            continue
        for spec in ship(trained, models, evaluation, git_revision()):
            if not is_recorded(spec, RECORDS):
                write_record(spec, runs, RECORDS, today)
            print(spec.name, spec.psnr, f"{spec.path.stat().st_size} bytes", flush=True)
            specs.append(spec)
    if not specs:
        raise NoPictures(f"{runs} holds no finished model; train the recipes first")
    new = {spec.name for spec in specs}
    kept = read_manifest(models) if (models / "manifest.toml").exists() else ()
    write_manifest(sorted([*(s for s in kept if s.name not in new), *specs], key=_place), models)


def _place(spec: ModelSpec) -> tuple[int, int, bool, bool]:
    """Where a model stands in the manifest: by what it restores, scale, colour and precision."""
    return get_args(Restore).index(spec.restore), spec.scale, spec.colour == "luma", spec.precision == "fp32"


def main() -> int:
    """Make everything from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pictures", type=Path, help="folder of training pictures")
    parser.add_argument("--eval", type=Path, help="folder that holds Set5, Set14 …")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="checkpoints and logs")
    parser.add_argument("--models", type=Path, default=Path("models"), help="where finished files go")
    parser.add_argument("--from-records", action="store_true", help="go on from the recorded checkpoints")
    parser.add_argument("--finish", action="store_true", help="do not train; export what there is")
    parser.add_argument("--only", nargs="+", help="with --finish: the networks to export, as x2_rgb_light")
    arguments = parser.parse_args()
    try:
        if arguments.from_records:
            restore_runs(RECORDS, arguments.runs)
        if arguments.finish:
            wanted = arguments.only
            finish(
                arguments.eval, arguments.runs, arguments.models, lambda name: not wanted or name in wanted
            )
        elif arguments.pictures is None:
            raise NoPictures("give --pictures, the folder to train on")
        else:
            make(arguments.pictures, arguments.eval, arguments.runs, arguments.models)
    except (BadRecipe, NoPictures, NotExact) as error:
        print(f"training: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
