"""The measurement: its statistics, its verdict on noise, its stages, and the shape of its report."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from xlsr_cli.bench import measure as measuring
from xlsr_cli.bench import noise, pictures, stages, timing
from xlsr_cli.bench.measure import BenchOptions, measure, thread_counts
from xlsr_cli.bench.memory import peak_memory
from xlsr_cli.bench.plot import Point, chart, draw_points, points_chart
from xlsr_cli.bench.report import BenchReport
from xlsr_cli.bench.timing import Timing, race
from xlsr_cli.cli.app import main
from xlsr_cli.engine.models import bundled_models
from xlsr_cli.engine.upscaler import Upscaler
from xlsr_cli.errors import InputError, UsageError
from xlsr_cli.options import EngineOptions, Size
from xlsr_cli.quality.bicubic import shrink
from xlsr_cli.quality.metrics import luma_psnr

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs" / "bench.schema.json").read_text("utf-8"))
SMALL = Size(width=97, height=61)


def checked(report: BenchReport) -> BenchReport:
    """The same, its JSON compared with the documented schema."""
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(json.dumps(report.data())))
    return report


class TestTiming:
    def test_the_median_and_its_spread(self) -> None:
        found = Timing.of([1.0, 2.0, 3.0, 4.0, 100.0])
        assert found.seconds == 3.0
        assert 1.0 < found.spread < 50.0
        assert found.samples == 5

    def test_one_accident_in_many_does_not_count(self) -> None:
        quiet = [0.020] * 30
        assert Timing.of([*quiet, 5.0]) == Timing(seconds=0.020, spread=0.020 * 0.03, samples=31)

    @pytest.mark.parametrize("scatter", [0.0, 0.02, 0.1, 0.3])
    def test_two_runs_agree_within_the_spread_that_they_state(self, scatter: float) -> None:
        random = np.random.default_rng(5)
        agreed = 0
        for _ in range(200):
            # Each process has a level of its own, as memory and clocks fall; samples scatter around it.
            level = 0.02 * random.uniform(0.99, 1.01, 2)
            runs = [Timing.of(each * random.lognormal(0.0, scatter, 25)) for each in level]
            apart = abs(runs[0].seconds - runs[1].seconds)
            agreed += apart <= min(run.spread for run in runs)
        assert agreed >= 195

    def test_contestants_take_turns_and_each_begins_a_round(self) -> None:
        order: list[str] = []

        def contestant(name: str) -> Mapping[str, float]:
            order.append(name)
            return {name: 1.0}

        names = ("a", "b", "c")
        found = race([lambda name=name: contestant(name) for name in names], repeats=3, pause=0.0)
        rounds = order[timing.WARM_UP * len(names) :]
        assert [rounds[at : at + 3] for at in (0, 3, 6)] == [
            ["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"],
        ]  # fmt: skip
        assert {name: row.samples for name, row in found.items()} == dict.fromkeys(names, 3)

    def test_without_a_number_time_decides_between_bounds(self) -> None:
        fast = race([lambda: {"a": 1e-9}], seconds=60.0, pause=0.0)
        assert fast["a"].samples == timing.MAX_REPEATS
        slow = race([lambda: {"a": 1.0}], seconds=0.0, pause=0.0)
        assert slow["a"].samples == timing.MIN_REPEATS

    def test_progress_hears_every_round(self) -> None:
        heard: list[tuple[str, object]] = []

        class Listener:
            def start(self, total: float | None, unit: str) -> None:
                heard.append(("start", (total, unit)))

            def advance(self, amount: float) -> None:
                heard.append(("advance", amount))

            def finish(self) -> None:
                heard.append(("finish", None))

        race([lambda: {"a": 1.0}], repeats=2, pause=0.0, progress=Listener())
        assert heard == [
            ("start", (2.0, "repeats")), ("advance", 1.0), ("advance", 1.0), ("finish", None),
        ]  # fmt: skip


class TestNoise:
    QUIET = Timing(seconds=0.02, spread=0.001, samples=20)

    def judged(self, found: Timing = QUIET, *, others: float | None = 0.05) -> noise.Noise:
        return noise.judge([found], other_cores=others, logical_cores=2, used_cores=2)

    def test_a_quiet_machine_is_trusted(self) -> None:
        assert self.judged().trustworthy
        assert self.judged(others=None).trustworthy

    def test_a_wide_spread_is_not(self) -> None:
        (reason,) = self.judged(Timing(seconds=0.02, spread=0.005, samples=20)).reasons
        assert "±25%" in reason

    def test_other_programs_are_not(self) -> None:
        (reason,) = self.judged(others=1.4).reasons
        assert "1.4 of 2 cores" in reason

    def test_other_programs_on_free_cores_are_tolerated(self) -> None:
        found = noise.judge([self.QUIET], other_cores=2.1, logical_cores=4, used_cores=2)
        assert found.trustworthy

    def test_too_few_repeats_are_not(self) -> None:
        (reason,) = self.judged(Timing(seconds=0.02, spread=0.001, samples=2)).reasons
        assert "2 repeats" in reason

    def test_the_load_of_others_is_what_is_not_ours(self, tmp_path: Path) -> None:
        stat = tmp_path / "stat"
        stat.write_text("cpu  100 0 100 1000 50 0 0 0 0 0\n", encoding="ascii")
        with noise.LoadWatch(stat) as watch:
            stat.write_text("cpu  100000 0 100 1000 50 0 0 500 0 0\n", encoding="ascii")
        assert watch.other_cores is not None
        assert watch.other_cores > 10

    def test_systems_without_the_file_do_not_tell(self, tmp_path: Path) -> None:
        with noise.LoadWatch(tmp_path / "none") as watch:
            pass
        assert watch.other_cores is None

    def test_time_taken_by_the_host_counts_as_busy(self) -> None:
        idle = "cpu  10 0 10 900 70 0 0 0 0 0\n"
        stolen = "cpu  10 0 10 900 70 0 0 80 0 0\n"
        assert noise.busy_seconds(stolen, 100) - noise.busy_seconds(idle, 100) == pytest.approx(0.8)
        with pytest.raises(ValueError, match="not the text"):
            noise.busy_seconds("nonsense", 100)


class TestStages:
    @pytest.mark.parametrize("color", ["rgb", "ycbcr"])
    def test_every_stage_takes_time_and_nothing_else_changes(self, color: str) -> None:
        pixels = pictures.made_picture(SMALL)
        upscaler = Upscaler(2.5, color=color, threads=2)  # type: ignore[arg-type]
        result, seconds = stages.staged(upscaler, pixels)
        assert tuple(seconds) == stages.ENGINE_STAGES
        assert all(spent > 0 for spent in seconds.values())
        np.testing.assert_array_equal(result, upscaler(pixels))

    def test_the_engine_is_left_as_it_was(self) -> None:
        holders = [(holder, name, getattr(holder, name)) for holder, name in stages._WATCHED.values()]

        def failing(_: object) -> None:
            raise InputError("on purpose")

        with pytest.raises(InputError):
            stages.staged(failing, None)  # type: ignore[arg-type]
        for holder, name, original in holders:
            assert getattr(holder, name) is original


class TestPictures:
    def test_the_made_picture_is_always_the_same_and_is_no_noise(self) -> None:
        picture = pictures.made_picture(SMALL)
        assert picture.shape == (61, 97, 3)
        assert picture.dtype == np.uint8
        np.testing.assert_array_equal(picture, pictures.made_picture(SMALL))
        assert 30 < picture.std() < 80
        # Neighbours are alike, as in a photograph; in noise they differ by 1.13 standard deviations.
        assert np.abs(np.diff(picture.astype(int), axis=1)).mean() < 0.75 * picture.std()

    @pytest.mark.parametrize("size", [Size(width=1, height=1), Size(width=1, height=7)])
    def test_the_smallest_made_pictures(self, size: Size) -> None:
        assert pictures.made_picture(size).shape == (size.height, size.width, 3)

    def test_a_perfect_upscaler_has_a_perfect_score(self) -> None:
        picture = pictures.made_picture(Size(width=120, height=100))
        assert pictures.score(picture, 2, lambda low: picture) == float("inf")

    @pytest.mark.parametrize("reason", ["16 bits", "less than 96 pixels"])
    def test_what_cannot_be_scored_says_why(self, reason: str) -> None:
        picture = pictures.made_picture(Size(width=120, height=100))
        unfit = picture.astype(np.uint16) if "16" in reason else picture[:50]
        assert reason in pictures.why_not_scored(unfit)
        with pytest.raises(ValueError, match=reason):
            pictures.score(unfit, 2, lambda low: low)

    def test_alpha_and_gray_are_scored_as_they_are(self) -> None:
        picture = pictures.made_picture(Size(width=121, height=100))
        alpha = np.dstack([picture, picture[..., :1]])
        for name in pictures.FILTERS:
            enlarge = lambda low, name=name: pictures.filtered(low, Size(width=120, height=100), name)  # noqa: E731
            colour = pictures.score(picture, 2, enlarge)
            assert 20 < colour < 60
            assert pictures.score(alpha, 2, enlarge) == colour
            assert 20 < pictures.score(picture[..., 0], 2, enlarge) < 60

    @pytest.mark.shared
    @pytest.mark.slow
    @pytest.mark.parametrize("name", pictures.FILTERS)
    @pytest.mark.parametrize("scale", [2, 3, 4])
    def test_the_published_scores_of_filters_are_measured(self, name: str, scale: int) -> None:
        import cv2

        folder = ROOT.parent / "shared" / "data" / "eval"
        if not folder.is_dir():
            pytest.skip("the evaluation pictures are not here")
        for set_name, expected in pictures.FILTER_PSNR[name][scale].items():
            found = []
            for path in sorted((folder / set_name).glob("*.png")):
                picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
                height, width = (side // scale * scale for side in picture.shape[:2])
                reference = picture[:height, :width]
                low = shrink(reference, scale)
                found.append(
                    luma_psnr(
                        reference, pictures.filtered(low, Size(width=width, height=height), name), scale
                    )
                )
            assert np.mean(found) == pytest.approx(expected, abs=0.02)


class TestMeasure:
    def test_a_report_has_everything_that_was_promised(self) -> None:
        report = checked(measure(BenchOptions(size=SMALL, repeats=2)))
        assert [row.name for row in report.stages] == [
            "decode", "look", "inference", "depth-to-space", "merge", "encode",
        ]  # fmt: skip
        assert "the picture: no traces of compression: off" in report.remarks
        assert sum(row.share or 0 for row in report.stages) == pytest.approx(1.0)
        assert report.target == Size(width=291, height=183)
        assert report.model == "xlsr_x3_rgb_int8"
        runtimes = [f"in {name}" for name in measuring._runtimes()]
        assert [row.name for row in report.beside] == ["float32 graph", *runtimes, "bicubic", "Lanczos"]
        assert all(row.psnr and row.times_faster for row in report.beside)
        assert report.engine.psnr is not None
        assert report.memory.peak is not None
        assert report.memory.peak > 1 << 24
        assert not report.noise.trustworthy  # two repeats tell nothing
        assert report.machine.cpu.model
        assert report.machine.versions["onnxruntime"]

    def test_every_runtime_has_a_row_where_there_are_several(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(measuring, "_runtimes", lambda: ["cpu", "CPUExecutionProvider"])
        report = measure(BenchOptions(size=Size(width=48, height=32), repeats=2))
        rows = {row.name: row for row in report.beside}
        assert rows["in cpu"].psnr == rows["in CPUExecutionProvider"].psnr == report.engine.psnr
        alone = EngineOptions(provider="cpu")
        report = measure(BenchOptions(size=Size(width=48, height=32), repeats=2, engine=alone))
        assert not [row.name for row in report.beside if row.name.startswith("in ")]

    def test_more_threads_than_cores_are_measured_and_remarked_on(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("xlsr_cli.machine.usable_cores", lambda: 2)
        options = BenchOptions(size=SMALL, repeats=1, engine=EngineOptions(threads=4))
        report = checked(measure(options))
        assert [row.threads for row in report.scaling] == [1, 2, 3, 4]
        assert report.scaling[0].speedup == 1.0
        assert report.threads == 4
        assert "4 threads share 2 usable cores" in report.remarks[0]

    def test_a_picture_of_the_user_is_scored_itself(self) -> None:
        options = BenchOptions(image=ROOT / "docs" / "sample" / "gae-aulenti.png", scale=2.0, repeats=1)
        report = checked(measure(options))
        assert "the picture itself" in report.quality
        scores = {row.name: row.psnr for row in report.beside}
        assert report.engine.psnr is not None
        assert scores["bicubic"] is not None
        assert report.engine.psnr > scores["bicubic"] + 1.0

    def test_a_named_float_model_stands_beside_its_integers(self) -> None:
        options = BenchOptions(
            size=SMALL, scale=2.0, repeats=1, engine=EngineOptions(model="xlsr_x2_luma_fp32")
        )
        report = checked(measure(options))
        assert report.model == "xlsr_x2_luma_fp32"
        assert report.beside[0].name == "int8 graph"

    def test_a_free_scale_has_no_scores(self) -> None:
        report = checked(measure(BenchOptions(size=SMALL, scale=2.5, repeats=1)))
        assert report.engine.psnr is None
        assert "no PSNR: the scale" in report.quality

    def test_a_named_model_runs_at_its_own_scale(self) -> None:
        named = EngineOptions(model="xlsr_x2_luma_int8")
        report = checked(measure(BenchOptions(size=SMALL, repeats=1, engine=named)))
        assert report.target == Size(width=194, height=122)
        assert report.engine.psnr is not None
        # At another scale its published score would be that of something else.
        other = checked(measure(BenchOptions(size=SMALL, repeats=1, scale=3.0, engine=named)))
        assert other.target == Size(width=291, height=183)
        assert other.engine.psnr is None

    def test_a_model_of_the_users_own_stands_beside_the_bundled_one(self, tmp_path: Path) -> None:
        spec = next(spec for spec in bundled_models() if spec.name == "xlsr_x2_rgb_int8")
        (tmp_path / spec.path.name).write_bytes(spec.path.read_bytes())
        described = f"""[[model]]\nname = "mine"\nfile = "{spec.path.name}"\nscale = 2\ncolour = "rgb"
            precision = "int8"\nhalo = 5\nlayout = "windows"\ninput_channels = 36\nsha256 = "{spec.sha256}"
            psnr = {{ Set14 = 12.5 }}"""
        (tmp_path / "manifest.toml").write_text(described, encoding="utf-8")
        mine = EngineOptions(model=str(tmp_path / spec.path.name))
        report = checked(measure(BenchOptions(size=SMALL, repeats=1, engine=mine)))
        assert report.model == "mine"
        assert report.engine.psnr == 12.5
        assert report.beside[0].name == "bundled model"
        assert report.beside[0].psnr == spec.psnr["Set14"]

    def test_a_picture_that_comes_back_whole_has_no_number(self, tmp_path: Path) -> None:
        import cv2

        path = tmp_path / "flat.png"
        path.write_bytes(cv2.imencode(".png", np.full((100, 100, 3), 255, np.uint8))[1].tobytes())
        report = checked(measure(BenchOptions(image=path, scale=2.0, repeats=1)))
        assert all(row.psnr is None for row in report.beside[1:])

    def test_sixteen_bits_run_in_float_alone(self, tmp_path: Path) -> None:
        import cv2

        picture = pictures.made_picture(SMALL).astype(np.uint16) * 257
        path = tmp_path / "deep.png"
        path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
        report = checked(measure(BenchOptions(image=path, scale=2.0, repeats=1)))
        assert report.model == "xlsr_x2_rgb_fp32"
        assert [row.name for row in report.beside] == ["bicubic", "Lanczos"]
        assert "no PSNR: the picture has 16 bits" in report.quality

    def test_opencv_has_its_threads_back_afterwards(self) -> None:
        import cv2

        before = cv2.getNumThreads()
        measure(BenchOptions(size=SMALL, repeats=1, engine=EngineOptions(threads=3)))
        assert cv2.getNumThreads() == before

    def test_options_that_contradict_each_other(self) -> None:
        for wrong in ({"size": SMALL, "image": Path("a.png")}, {"repeats": 0}):
            with pytest.raises(UsageError):
                BenchOptions(**wrong)  # type: ignore[arg-type]

    def test_a_picture_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="does not exist"):
            measure(BenchOptions(image=tmp_path / "none.png"))

    def test_many_threads_are_measured_at_powers_of_two(self) -> None:
        assert thread_counts(1) == [1]
        assert thread_counts(8) == [1, 2, 3, 4, 5, 6, 7, 8]
        assert thread_counts(12) == [1, 2, 4, 8, 12]
        assert thread_counts(64) == [1, 2, 4, 8, 16, 32, 64]


class TestPlot:
    def test_numbers_stand_on_their_points_and_the_legend_names_each(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 4))
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        points = [
            Point(
                name=f"way {number}", timing=Timing(seconds=0.01 * slower, spread=0.001, samples=9), psnr=30.0
            )
            for number, slower in enumerate((1.0, 1.6, 30.0))
        ]
        draw_points(axes, points, what="here", quality="there")
        boxes = [text.get_window_extent() for text in axes.texts]
        assert [text.get_text() for text in axes.texts] == ["1", "2", "3"]
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
        places = [axes.transData.transform((point.fps, point.psnr)) for point in points]
        assert [[box.contains(*place) for place in places] for box in boxes] == np.eye(3).tolist()
        legend = axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15))
        named = [text.get_text() for text in legend.get_texts()]
        assert [text[:8] for text in named] == ["1  way 0", "2  way 1", "3  way 2"]
        assert not any(legend.get_window_extent().contains(*place) for place in places)

    def test_any_number_of_points_is_numbered(self) -> None:
        import cv2

        points = [
            Point(name=f"way {n}", timing=Timing(seconds=0.01, spread=0.001, samples=9), psnr=30.0)
            for n in range(20)
        ]
        content = points_chart(points, title="title", what="here", quality="there")
        assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) is not None

    @pytest.mark.parametrize("scale", [3.0, 2.5])
    def test_the_chart_is_a_png_of_a_report(self, scale: float) -> None:
        import cv2

        content = chart(measure(BenchOptions(size=SMALL, scale=scale, repeats=1)))
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape[1] > 1500
        assert (picture != 255).any(axis=2).mean() > 0.01


QUICK = ["bench", "--size", "33x21", "--repeat", "1"]


class TestCommand:
    def told(self, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
        assert main(["bench", "--repeat", "1", "--json", *options]) == 0
        data: dict[str, Any] = json.loads(capsys.readouterr().out)
        jsonschema.Draft202012Validator(SCHEMA).validate(data)
        return data

    def test_the_report_for_people(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([*QUICK, "--threads", "2"]) == 0
        text = capsys.readouterr().out
        machine = text.splitlines()[0]
        assert "onnxruntime " in machine
        for told in (
            "2 threads",
            "decode",
            "depth-to-space",
            "efficiency",
            "float32 graph",
            "Lanczos",
            "peak memory",
        ):
            assert told in text
        assert "TOO NOISY TO TRUST: 1 repeat cannot tell" in text

    def test_every_option_changes_what_is_measured(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        import cv2

        small = ("--size", "33x21")
        plain = self.told(capsys, *small)
        assert (plain["source"], plain["target"], plain["model"]) == ("33x21", "99x63", "xlsr_x3_rgb_int8")
        assert plain["engine"]["repeats"] == 1
        assert self.told(capsys, *small, "--scale", "2")["target"] == "66x42"
        assert self.told(capsys, *small, "--model", "xlsr_x4_luma_int8")["target"] == "132x84"
        named = self.told(capsys, *small, "--restore", "strong")
        assert named["model"] == "xlsr_x3_rgb_strong_int8"
        assert "look" not in [stage["name"] for stage in named["stages"]]
        assert self.told(capsys, *small, "--precision", "fp32")["model"] == "xlsr_x3_rgb_fp32"
        assert self.told(capsys, *small, "--repeat", "2")["engine"]["repeats"] == 2
        assert len(self.told(capsys, *small, "--threads", "3")["scaling"]) == 3
        sample = ROOT / "docs" / "sample" / "message.png"
        assert self.told(capsys, "--image", str(sample))["source"] == "288x105"
        picture = cv2.imread(str(sample))
        cv2.imwrite(str(tmp_path / "photo.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 40])
        assert self.told(capsys, "--image", str(tmp_path / "photo.jpg"))["model"] == "xlsr_x3_rgb_strong_int8"

    def test_the_plot_is_not_replaced_unasked(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        plot = tmp_path / "plot.png"
        assert main([*QUICK, "--plot", str(plot)]) == 0
        first = plot.read_bytes()
        assert first.startswith(b"\x89PNG")
        capsys.readouterr()
        assert main([*QUICK, "--plot", str(plot)]) == 4
        assert capsys.readouterr().out == ""  # it is found before anything is measured
        assert plot.read_bytes() == first
        assert main([*QUICK, "--plot", str(plot), "--overwrite"]) == 0
        assert main([*QUICK, "--plot", str(tmp_path / "plot.jpg")]) == 2
        assert main([*QUICK, "--plot", str(tmp_path / "none" / "plot.png")]) == 4

    @pytest.mark.parametrize(
        ("options", "code", "said"),
        [
            (["--scale", "1"], 2, "above 1"),
            (["--threads", "0"], 2, "at least 1"),
            (["--size", "0x5"], 2, "at least 1x1"),
            (["--image", "nowhere.png"], 3, "nowhere.png"),
            (["--model", "nothing"], 5, "no model is called"),
            (["--model", "xlsr_x2_rgb_int8", "--precision", "fp32"], 2, "contradicts"),
        ],
    )
    def test_what_cannot_be_measured(
        self, options: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["bench", *options]) == code
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line


def test_peak_memory_is_known_here() -> None:
    found = peak_memory()
    assert found is not None
    assert found > 1 << 24


def test_the_default_picture_is_the_documented_one() -> None:
    assert str(measuring.DEFAULT_SIZE) == "640x360"
