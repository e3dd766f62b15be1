"""Scores what a scan finds on the machines of a Ray cluster, with Ray Data, and yields the records in its order."""

from __future__ import annotations

import importlib
import json
import logging
import os
import pickle
import signal
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import lifeiqa
from lifeiqa.runtime.arrow import require_arrow
from lifeiqa.runtime.errors import LifeIQAError, MissingError, UsageError
from lifeiqa.runtime.limits import usable_cores
from lifeiqa.runtime.scorer import Scorer
from lifeiqa.runtime.scoring.decoders import DecodeSettings
from lifeiqa.runtime.scoring.engine import Engine
from lifeiqa.runtime.sinks.record import Record
from lifeiqa.runtime.sources.entries import Entry

_WAVE = 20_000  # files for each core are handed over at a time: some minutes of work, and 2 MB of names a core
_BLOCK = 256  # files are lost at most when a worker is, and are scored once more
_DEATHS = 3  # of the process that hands them out, with nothing done between: then it is no accident
_ROWS = 1000  # of a video come back at a time


@dataclass(frozen=True)
class ClusterJob:
    """What every worker must know.

    Attributes:
        model: its file's name.
        device, backend, crops, threads: see `Scorer`.
        settings: of decoding.
        jobs: files that one worker decodes at the same time; 0: one, or on a GPU as many as there are cores for.
        every: of a video, only every n-th frame.
        version: of the lifeiqa that all must have.
    """

    model: str
    device: str
    backend: str
    crops: int | None
    threads: int
    settings: DecodeSettings
    jobs: int = 0
    every: int = 1
    version: str = lifeiqa.__version__


class Cluster:
    """The same as `Engine`, on the machines of a cluster: one worker a core, or a GPU, each with the model loaded once.

    Ray Data hands the files out, in a process of the cluster, for it does not run on the far side of `ray://`. A
    process that is killed is started again, and what it had not handed over is scored again.
    """

    def __init__(self, address: str, model: Path, job: ClusterJob) -> None:
        """Connects, or starts a cluster of this machine alone.

        Args:
            address: of a cluster (`ray://host:10001`, `host:6379`), or "auto": the one that RAY_ADDRESS names or that
                runs on this machine, else none is needed.
            model: an exported file; it goes to the workers from here, with what lies beside an engine.
            job: for the workers.

        Raises:
            MissingError: Ray is not installed, no cluster answers, or it has no GPU and one is asked for.
            UsageError: this is no address.
        """
        try:
            self._ray = importlib.import_module("ray")
            importlib.import_module("ray.data")
        except ImportError:
            raise MissingError("A cluster needs Ray. Install it: pip install 'ray[client,data]>=2.50'") from None
        self._connect(address)
        resources = self._ray.cluster_resources()
        cores, gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
        on_gpu = job.device == "cuda"
        if on_gpu and not gpus:
            self.close()
            raise MissingError("The cluster has no GPU. Leave out --device cuda, or add a machine that has one.")
        job = replace(job, jobs=job.jobs or (max(1, cores // gpus) if on_gpu else 1))
        cpus = job.jobs * max(1, job.threads)
        self._workers = gpus if on_gpu else max(1, cores // cpus)
        self._wave = _WAVE * cores
        each = f"{cpus} of {cores} cores" + (" and a GPU" if on_gpu else "")
        self.description = f"Ray {self._ray.__version__}: {self._workers} workers, each with {each}"
        files = (model, *model.parent.glob(f"{model.name}.*"))
        shipped = self._ray.put({file.name: file.read_bytes() for file in files if file.is_file()})
        # In a list, for Ray not to unpack it: a worker that is started again asks for it again.
        self._hand_out = (job, [shipped], self._workers, {"num_cpus": cpus, "num_gpus": 1 if on_gpu else 0})

    def score(self, entries: Iterable[Entry]) -> Iterator[Iterable[Record]]:
        """Yields the records of each entry. Paths must lead to the same files on all machines.

        Raises:
            MissingError, ManifestError: a worker cannot load the model, or has another lifeiqa; or the cluster is lost.
        """
        waiting = iter(entries)
        while wave := list(islice(waiting, self._wave)):
            expected = 0
            for number, rows in groupby(self._rows(wave), lambda row: row[0]):
                while expected < number:  # a video without a frame
                    yield ()
                    expected += 1
                yield (Record(**json.loads(text)) for _, text in rows)
                expected += 1
            yield from [()] * (len(wave) - expected)

    def close(self) -> None:
        """Leaves the cluster; one that was started for this run ends."""
        self._ray.shutdown()

    def _connect(self, address: str) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of Ray's makers, who would be told of every run
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        before = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._ray.init(address, **quiet)
        except ConnectionError as error:
            if address != "auto" or os.environ.get("RAY_ADDRESS"):
                where = os.environ["RAY_ADDRESS"] if address == "auto" else address
                advice = "Is it running, its port open, and its token (RAY_AUTH_MODE, RAY_AUTH_TOKEN) known here?"
                raise MissingError(f"No Ray cluster answers at {where}. {advice}") from error
            self._ray.init(num_cpus=usable_cores(), include_dashboard=False, **quiet)
        except ValueError as error:
            raise UsageError(f"--cluster takes auto or an address such as ray://host:10001, not {address}.") from error
        for name, handler in before.items():  # Ray's would end without a word
            signal.signal(name, handler)

    def _rows(self, wave: list[Entry]) -> Iterator[tuple[int, str]]:
        """Number and record, as JSON, of all that becomes of a wave, in its order."""
        start = given = deaths = 0  # the entry that rows were last given of, and how many
        while True:
            distributor = self._ray.remote(num_cpus=0)(_Distributor).remote(
                *self._hand_out, _blocks(wave, start, self._workers), given
            )
            try:
                while rows := self._ray.get(distributor.rows.remote()):
                    if isinstance(rows, LifeIQAError):
                        raise rows
                    yield from rows
                    last = rows[-1][0]
                    given = (given if last == start else 0) + sum(number == last for number, _ in rows)
                    start, deaths = last, 0
                return
            except self._ray.exceptions.RayActorError as error:
                deaths += 1
                if "No module named 'lifeiqa" in str(error):
                    raise MissingError("The cluster's machines have no lifeiqa; install it on all, as here.") from None
                if "creation task" in str(error):  # a bug
                    raise
                if deaths == _DEATHS:
                    raise MissingError(
                        "The cluster does not answer any more. What has its record in --output is kept; go on with "
                        "--resume."
                    ) from error
            finally:
                self._ray.kill(distributor)


def _blocks(wave: list[Entry], start: int, workers: int) -> list[Any]:
    """The entries of a wave from `start` on, with their numbers, as tables that are handed out one by one."""
    arrow, size = require_arrow("A cluster"), min(_BLOCK, max(1, len(wave) // (4 * workers)))
    packed = [
        # Another process has another working folder.
        pickle.dumps(entry if entry.path is None else replace(entry, path=os.path.abspath(entry.path)))  # noqa: PTH100
        for entry in wave
    ]
    return [
        arrow.table({"number": list(range(k, min(k + size, len(wave)))), "entry": packed[k : k + size]})
        for k in range(start, len(wave), size)
    ]


class _Distributor:
    """Has a wave scored by Ray Data. An actor of the cluster."""

    def __init__(
        self, job: ClusterJob, files: list[Any], workers: int, needs: dict[str, int], blocks: list[Any], skip: int
    ) -> None:
        data = importlib.import_module("ray.data")
        context = data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        done = data.from_arrow(blocks).map_batches(
            _Worker,
            fn_constructor_args=(job, files),
            batch_size=None,
            batch_format="pyarrow",
            compute=data.ActorPoolStrategy(min_size=1, initial_size=min(workers, len(blocks))),
            **needs,
        )
        self._tables, self._skip = iter(done.iter_batches(batch_size=None, batch_format="pyarrow")), skip

    def rows(self) -> list[tuple[int, str]] | LifeIQAError:
        """The next rows after the first `skip`, as they come; none at the end. Or why there are none."""
        try:
            for table in self._tables:
                rows = list(zip(table["number"].to_pylist(), table["record"].to_pylist(), strict=True))
                skipped = min(self._skip, len(rows))
                self._skip -= skipped
                if len(rows) > skipped:
                    return rows[skipped:]
        except importlib.import_module("ray").exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, LifeIQAError):
                return cause
            raise
        return []


class _Worker:
    """Scores blocks of files, in a process of its own somewhere in the cluster."""

    def __init__(self, job: ClusterJob, files: list[Any]) -> None:
        self._job = job
        self._failure: LifeIQAError | None = None
        self._engine: Engine | None = None
        try:
            if job.version != lifeiqa.__version__:
                raise MissingError(
                    f"A machine of the cluster has lifeiqa {lifeiqa.__version__}, and this one {job.version}; install "
                    "the same."
                )
            with tempfile.TemporaryDirectory(prefix="lifeiqa-") as folder:
                for name, data in importlib.import_module("ray").get(files[0]).items():
                    (Path(folder) / name).write_bytes(data)
                model = Path(folder) / job.model
                self._scorer = Scorer(model, job.device, job.crops, job.threads, job.backend, concurrent=True)
        except LifeIQAError as error:  # raised by a call: Ray would try for ever to start a worker that does not
            self._failure = error

    def __call__(self, block: Any) -> Iterator[Any]:
        if self._failure is not None:
            raise self._failure
        entries = [pickle.loads(data) for data in block["entry"].to_pylist()]  # noqa: S301 - from this very program
        rows: list[tuple[int, str]] = []
        job = self._job
        engine, self._engine = self._engine or Engine(self._scorer, job.settings, job.jobs, job.every), None
        for number, records in zip(block["number"].to_pylist(), engine.score(entries), strict=True):
            for record in records:
                rows.append((number, json.dumps(asdict(record))))
                if len(rows) == _ROWS:
                    yield _table(rows)
                    rows.clear()
        self._engine = engine  # not after an error, which closes it
        yield _table(rows)


def _table(rows: list[tuple[int, str]]) -> Any:
    arrow = require_arrow("A cluster")
    numbers, records = [number for number, _ in rows], [text for _, text in rows]
    return arrow.table({"number": arrow.array(numbers, arrow.int64()), "record": arrow.array(records, arrow.string())})
