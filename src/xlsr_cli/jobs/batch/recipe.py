"""The options of a batch, and the keys by which its outputs are recognised."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from xlsr_cli.engine.models import bundled_hashes
from xlsr_cli.jobs.batch.job import Job
from xlsr_cli.options import PictureOptions, VideoOptions


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The options of a batch. ``key`` (pictures and animations) and ``film_key`` identify everything in the
    options and models that decides the bytes of an output; see :func:`recipe_for`."""

    options: PictureOptions
    video: VideoOptions
    key: str
    film_key: str

    def key_for(self, job: Job) -> str:
        """The key of ``job``'s kind."""
        return self.film_key if job.kind == "film" else self.key

    def with_threads(self, threads: int) -> Recipe:
        """The same for a worker with ``threads`` threads; the outputs are the same."""
        engine = replace(self.options.engine, threads=threads)
        return replace(self, options=replace(self.options, engine=engine))


def recipe_for(options: PictureOptions, video: VideoOptions) -> Recipe:
    """The recipe of these options, and of the models that are installed."""
    key = fingerprint(options)
    film_key = hashlib.sha256((key + repr(sorted(asdict(video).items()))).encode()).hexdigest()
    return Recipe(options=options, video=video, key=key, film_key=film_key)


def fingerprint(options: PictureOptions) -> str:
    """Identifies everything in options and models that decides the bytes of an output, or refuses it."""
    engine = replace(options.engine, threads=None, tile=None, max_memory=None)
    deciding = replace(options, engine=engine, overwrite=False)
    text = repr(sorted(asdict(deciding).items())) + repr(bundled_hashes())
    if options.engine.model is not None and Path(options.engine.model).is_file():
        text += hashlib.sha256(Path(options.engine.model).read_bytes()).hexdigest()
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
