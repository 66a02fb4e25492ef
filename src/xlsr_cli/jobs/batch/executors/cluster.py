"""A Dask cluster: the only importer of distributed.

Workers on other machines are checked: before the first task, that they have the same version, networks and
storage; after each task, that the output exists as the worker says.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xlsr_cli
from xlsr_cli.errors import OutputError, ResourceError, UsageError
from xlsr_cli.jobs.batch.compute import do_item
from xlsr_cli.jobs.batch.effort import Rates, measure
from xlsr_cli.jobs.batch.executors.executor import Executor, Hear, ignore
from xlsr_cli.jobs.batch.executors.processes import LocalExecutor
from xlsr_cli.jobs.batch.executors.sharing import Sharing
from xlsr_cli.jobs.batch.executors.worker import load_upscaler
from xlsr_cli.jobs.batch.item import Item, ItemResult, failed, is_as_written
from xlsr_cli.jobs.batch.job import Job
from xlsr_cli.jobs.batch.recipe import Recipe, fingerprint
from xlsr_cli.media.atomic import part_name

#: Seconds after which one machine must see what another has written: NFS refreshes what it knows after a
#: minute at most, and looks up new files at once.
_SEEN_AFTER = 10.0


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a worker has to comply with. ``token``: the content of the file at ``token_path``.

    ``encoders``: the version of the library that encodes films; empty where there are none.
    """

    version: str
    encoders: str
    recipe: Recipe
    folder: Path
    token_path: Path
    token: str


class ClusterExecutor(Executor):
    """The same items on the workers of a Dask scheduler, on storage that all of them see."""

    #: How often an item is tried again when its worker is lost.
    _RETRIES = 2

    def __init__(self, address: str, *, timeout: float | None = None) -> None:
        """Connect to the scheduler at ``address``, such as ``tcp://host:8786``.

        ``timeout``: seconds for one file. Raises :class:`UsageError` without Dask, :class:`ResourceError`
        when nobody answers, or nobody works there.
        """
        try:
            import distributed
        except ImportError as error:
            raise UsageError("--cluster needs Dask: pip install dask distributed") from error
        silence_dask()
        self._address = address
        self._timeout = timeout
        self._recipe: Recipe | None = None
        self._patience = _SEEN_AFTER
        try:
            self._client: Any = distributed.Client(address, timeout="10s", set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise ResourceError(f"no Dask scheduler answers at {address}: {error}") from error
        try:
            self._client.wait_for_workers(1, timeout=30)
        except TimeoutError as error:
            self._client.close()
            raise ResourceError(
                f"the scheduler {address} has no workers; start some: dask worker {address}"
            ) from error

    def stop(self) -> None:
        with contextlib.suppress(Exception):  # the scheduler may be gone already
            self._client.close(timeout=5)

    def prepare(self, recipe: Recipe, jobs: Sequence[Job]) -> None:
        self._recipe = recipe.with_threads(1)

    def measure(self) -> Rates:
        """The rates of one worker, by the number of all threads of theirs.

        Raises :class:`ResourceError` where it cannot do it, or the scheduler is gone.
        """
        with self._scheduler_errors():
            threads = sum(self._client.nthreads().values())
            try:
                rates: Rates = self._client.submit(measure_anywhere, self._recipe, pure=False).result()
            except Exception as error:
                if self._is_gone(error):
                    raise
                raise ResourceError(f"a worker {_reason(error)}") from error
        return rates.shared(max(1, threads))

    def run(self, items: Iterable[Item], hear: Hear = ignore) -> Iterator[ItemResult]:
        """Raises :class:`ResourceError` for workers that would write other pixels or to other storage, and
        when the scheduler is gone."""
        items = list(items)
        if not items:
            return
        films = any(item.job.kind == "film" for item in items)
        with self._terms(items[0].job, films=films) as terms, self._scheduler_errors():
            self._check_workers(terms)
            yield from self._results(items, terms, Sharing(hear))

    @contextlib.contextmanager
    def _terms(self, job: Job, *, films: bool) -> Iterator[Terms]:
        """The terms, while the file that proves the common storage lies in the output folder."""
        assert self._recipe is not None
        token = os.urandom(16).hex()
        path = job.out / part_name("cluster")  # which a killed run's sweep removes as well
        try:
            with path.open("x", encoding="ascii") as file:
                file.write(token)
        except OSError as error:
            raise OutputError(f"cannot write into {job.out}: {error.strerror or error}") from error
        try:
            yield Terms(
                version=xlsr_cli.__version__,
                encoders=_encoders() if films else "",
                recipe=self._recipe,
                folder=job.folder,
                token_path=path,
                token=token,
            )
        finally:
            path.unlink(missing_ok=True)

    def _check_workers(self, terms: Terms) -> None:
        answers = self._client.run(objection, terms, on_error="return")
        objections = {
            worker: _reason(answer) for worker, answer in sorted(answers.items()) if answer is not None
        }
        if objections:
            worker, reason = next(iter(objections.items()))
            count = f"{len(objections)} of {len(answers)} workers"
            raise ResourceError(f"{count} cannot do this batch; the one at {worker} {reason}")

    def _results(self, items: list[Item], terms: Terms, sharing: Sharing) -> Iterator[ItemResult]:
        from distributed import as_completed

        futures: dict[Any, Item] = {}

        def submit(item: Item) -> Any:
            # Large files first, and what belongs to them before what was there before.
            future = self._client.submit(
                do_item_anywhere,
                item,
                terms,
                self._timeout,
                pure=False,
                retries=self._RETRIES,
                priority=item.job.pixels,
            )
            futures[future] = item
            return future

        ended = as_completed([submit(sharing.first(item)) for item in items], loop=self._client.loop)
        try:
            for future in ended:
                item = futures.pop(future)
                more, result = sharing.then(item, self._result_of(item, future))
                future.release()
                for each in more:
                    if each.step.kind == "join":  # what only one can do is done here
                        more_still, result = sharing.then(each, self._join(each))
                        assert not more_still
                    else:
                        ended.add(submit(each))
                if result is not None:
                    yield result
        finally:
            with contextlib.suppress(Exception):
                self._client.cancel(list(futures))

    def _result_of(self, item: Item, future: Any) -> ItemResult:
        error = future.exception()
        if error is None:
            return self._seen(item, future.result())
        if self._is_gone(error):
            raise error
        reason = f"{item.job.source} could not be done on the cluster: {error}"
        return failed(item, reason, error=error)

    def _join(self, item: Item) -> ItemResult:
        """The parts of a film put together, in this process."""
        assert self._recipe is not None
        with load_upscaler(self._recipe.options) as upscaler:
            return do_item(item, self._recipe, upscaler)

    def _seen(self, item: Item, result: ItemResult) -> ItemResult:
        """``result``, or a failure if this machine does not see the output that the worker says it wrote."""
        if result.outcome not in ("done", "kept"):
            return result
        end = time.monotonic() + self._patience
        while not is_as_written(item.job.output, result.entry):
            if time.monotonic() >= end:
                self._patience = 0.0  # the next one is not waited for as well
                reason = (
                    f"a worker says that it wrote {item.job.output}, and this machine does not see that; "
                    "all have to work on the same storage"
                )
                return failed(item, reason, error=ResourceError(reason))
            time.sleep(0.2)
        return result

    def _is_gone(self, error: BaseException) -> bool:
        return self._client.status != "running" or type(error).__name__ == "FutureCancelledError"

    @contextlib.contextmanager
    def _scheduler_errors(self) -> Iterator[None]:
        """Turn the exceptions that Dask raises when its scheduler is gone into one sentence."""
        from concurrent.futures import CancelledError as Cancelled

        from distributed import CancelledError
        from distributed.comm import CommClosedError

        try:
            yield
        except (CancelledError, Cancelled, CommClosedError, ConnectionError, TimeoutError) as error:
            raise ResourceError(
                f"the scheduler {self._address} is gone; what is done is kept: start it again, and the same "
                "command continues"
            ) from error


def silence_dask() -> None:
    """Keep Dask's loggers from writing to stderr: our own errors say what went wrong, without a traceback.

    A client whose scheduler is gone logs how it failed to reach it again, at a moment of its own.
    """
    import distributed  # noqa: F401  # its loggers get their levels when it is imported

    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _reason(answer: object) -> str:
    if isinstance(answer, BaseException):
        return (
            f"has another version of xlsr than this machine ({xlsr_cli.__version__}), or none "
            f"({type(answer).__name__}: {answer}); install the same everywhere"
        )
    return str(answer)


def _encoders() -> str:
    from xlsr_cli.media.video.output.encoder import library_version

    return library_version()


def objection(terms: Terms) -> str | None:
    """Why the calling process cannot comply with ``terms``; None if it can."""
    if xlsr_cli.__version__ != terms.version:
        return (
            f"has xlsr {xlsr_cli.__version__}, and this machine has {terms.version}; "
            "install the same everywhere"
        )
    if (ours := fingerprint(terms.recipe.options)) != terms.recipe.key:
        return (
            f"has other networks ({ours[:8]}) than this machine ({terms.recipe.key[:8]}); "
            "install the same xlsr everywhere, and the same --model"
        )
    if terms.encoders and _encoders() != terms.encoders:
        return f"has {_encoders()}, and this machine has {terms.encoders}; install the same everywhere"
    try:
        held = terms.token_path.read_text(encoding="ascii")
    except (OSError, ValueError):
        held = ""
    if held != terms.token:
        return f"does not see {terms.token_path.parent}; it has to be on storage that all machines share"
    if not terms.folder.is_dir():
        return f"does not see {terms.folder}; it has to be on storage that all machines share"
    return None


#: Terms that this process has agreed with, by their tokens.
_AGREED: set[str] = set()
_KEPT = threading.local()


def do_item_anywhere(item: Item, terms: Terms, timeout: float | None) -> ItemResult:
    """Called by a thread of a cluster's worker: do one item, in a process that the thread keeps.

    A file that crashes or hangs ends that process and not the worker, which may have no nanny to restart it.
    Raises :class:`ResourceError` in a worker that came later and does not agree with ``terms``.
    """
    if terms.token not in _AGREED:
        reason = objection(terms)
        if reason is not None:
            raise ResourceError(f"a worker {reason}")
        _AGREED.add(terms.token)
    executor = getattr(_KEPT, "executor", None)
    if executor is None or _KEPT.timeout != timeout:
        executor = LocalExecutor(workers=1, cores=1, timeout=timeout, divides=False)
        _KEPT.executor, _KEPT.timeout = executor, timeout
    try:
        executor.prepare(terms.recipe, [item.job])
        (result,) = executor.run([item])
    except BaseException:
        _KEPT.executor = None
        executor.stop()
        raise
    return result


def measure_anywhere(recipe: Recipe) -> Rates:
    """Called by a thread of a cluster's worker: measure its speed."""
    with load_upscaler(recipe.options) as upscaler:
        return measure(recipe, upscaler)
