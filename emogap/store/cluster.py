"""Work spread over workers, each holding what is slow to load, given one piece at a time: this process or a cluster.

A worker that is lost, alone or with its node, costs no more than the piece it had in hand: that is given to another,
so whatever a worker writes must be the same when it is written again. Pieces are finished in no particular order.

Which worker is given what, and what is done about a lost one, is said here and not left to Ray (2.60). What it has for
that was tried against the same tests or read:

- Actors with ``max_restarts`` and ``max_task_retries``: a retry is spent while the actor is being started again (two
  within four seconds, nobody at work), so that what a killed node had in hand was given up; without a limit a
  piece that kills its workers would have no end. A retry is bound to its actor, too, however idle the others are.
- Ray Data (``map_batches`` over such actors): for the same reason pieces went missing when a node was killed, when none
  was left, and beside a piece that killed its workers; and all models are loaded anew in every run, of which rewrites
  have several.
- ``ray.util.ActorPool``: does not say whose error it raises, and gives an actor that is starting again the next piece.
- Tasks whose processes keep the model: one process is given this GPU now and that one then; the model stays where it
  was.
"""

import os
import re
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from emogap.config import Scale
from emogap.errors import DiskError, EmogapError, ModelError, UsageError
from emogap.store.artefacts import Artefact

Work = Callable[[Any], Any]
Advance = Callable[[int], None]
"""Is called with how much more is done."""
Size = Callable[[Any, Any], int]
"""(piece, result) → how much that was."""
OpenWorker = Callable[[], tuple[Work, Any]]
"""What an actor does once, where it runs: load, and give back the function that does a piece and what it is loaded as
(equal for all workers, so that no row depends on who made it)."""
OpenAnywhere = Callable[[Advance], tuple[Work, Callable[[], Any]]]
"""The same for a worker that may be this process: it gets the function by which it reports what it has done, and gives
what it is loaded as by a function, so that it can load when there is need."""

LOSSES = 3
"""A piece that so many workers died with is not given to a further one."""
LOOK_SECONDS = 5.0
"""While nothing is heard of any worker, the nodes are looked at so often."""
CONNECT_SECONDS = 10
"""How long the head of a cluster may take to answer."""


@contextmanager
def workers(scale: Scale, open_worker: OpenAnywhere, advance: Advance, size: Size) -> "Iterator[Here | _There]":
    """The workers that the settings name, begun when they are first needed and gone at the end of the block.

    ``description()`` is what they are loaded as; ``run(pieces, on_done)`` has every piece done once, of each of which
    ``on_done(piece, result)`` hears, here, as it is finished.
    ``advance`` hears of what is done: in this process as the worker reports it, else by the ``size`` of each piece.
    """
    if scale.executor == "plain":
        yield Here(partial(open_worker, advance))
        return
    with ExitStack() as closing:
        pool = cache(lambda: closing.enter_context(ActorPool(scale, partial(_open_there, open_worker))))
        yield _There(pool, advance, size)


class Here:
    """This process is the one worker; what fails stops it."""

    def __init__(self, open_worker: Callable[[], tuple[Work, Callable[[], Any]]]):
        self._opened = cache(open_worker)

    def description(self) -> Any:
        return self._opened()[1]()

    def run(self, pieces: Iterable[Any], on_done: Callable[[Any, Any], None]) -> None:
        for piece in pieces:
            on_done(piece, self._opened()[0](piece))


class _There:
    """A pool of actors that is started for the first pieces."""

    def __init__(self, pool: Callable[[], "ActorPool"], advance: Advance, size: Size):
        self._pool, self._advance, self._size = pool, advance, size

    def description(self) -> Any:
        return self._pool().description

    def run(self, pieces: Iterable[Any], on_done: Callable[[Any, Any], None]) -> None:
        def count(piece: Any, result: Any) -> None:
            on_done(piece, result)
            self._advance(self._size(piece, result))

        self._pool().run(pieces, count)


def _open_there(open_worker: OpenAnywhere) -> tuple[Work, Any]:
    work, description = open_worker(unheard)
    return work, description()


def unheard(done: int) -> None:
    """The report of a worker of a cluster goes nowhere: its pieces are counted where they are given out."""


class _Worker:
    """What an actor runs."""

    def __init__(self, open_worker: OpenWorker):
        self._open_worker = open_worker

    def open(self) -> Any:
        # Not in __init__: an error there kills the actor and comes back as text.
        self._work, description = self._open_worker()
        return description

    def do(self, piece: Any) -> Any:
        return self._work(piece)


@dataclass(frozen=True)
class _Opening:
    """What a worker that loads has in hand in place of a piece."""

    nodes: frozenset[str]
    """Those that were up when it was started: if one of them is gone, a loss says nothing about what it loads."""


_NO_MORE = object()


class ActorPool:
    """Workers on a cluster, all started at once and ended with the block; a lost one is replaced when there is room.

    A worker for which there is no room yet is waited for, while others work, as long as some node could hold it; if no
    node could, for ``scale.wait`` seconds. Raises ``UsageError`` without Ray, without a cluster, or without room on it.
    """

    def __init__(self, scale: Scale, open_worker: OpenWorker):
        self._connected = _connect(scale)
        self._resources, self._wait = _resources(scale), scale.wait
        self._open_worker = open_worker
        self._running: dict[Any, tuple[Any, Any]] = {}  # what will come → worker and piece
        self._idle: list[Any] = []
        self.description: Any = None
        """What the workers are loaded as; None until the first one is."""
        room = _count_room(self._resources)
        if not room:
            raise UsageError(
                f"no node of the cluster has {scale.cpus:g} CPUs and {self._resources['num_gpus']:g} GPUs for a "
                "worker; lower scale.cpus or scale.gpus"
            )
        for _ in range(scale.workers or room):
            self._start_worker()

    @property
    def loaded(self) -> int:
        """How many workers are ready for a piece or at one."""
        return len(self._idle) + sum(not isinstance(piece, _Opening) for _, piece in self._running.values())

    def run(self, pieces: Iterable[Any], on_done: Callable[[Any, Any], None]) -> None:
        """Have every piece done once; ``on_done(piece, result)`` hears of each, here, as it is finished.

        ``pieces`` is read as workers fall free, not before the first one is loaded. A piece that fails does not stop
        the others: its error is raised when they are done. A worker that cannot load, and a disk that cannot be
        written, end the run at once; so does a cluster that stays without a node for any worker.
        """
        left, again = iter(pieces), deque()
        losses: Counter[int] = Counter()
        lost_loading = 0
        failed: list[BaseException] = []
        more = True
        while True:
            while self._idle and (more or again):
                piece = again.popleft() if again else next(left, _NO_MORE)
                if piece is _NO_MORE:
                    more = False
                else:
                    worker = self._idle.pop()
                    self._running[worker.do.remote(piece)] = (worker, piece)
            if not more and not again and all(isinstance(piece, _Opening) for _, piece in self._running.values()):
                break
            worker, piece, result, error = self._next()
            loading = isinstance(piece, _Opening)
            if error is None and loading:
                self._take_in(worker, result)
                lost_loading = 0
            elif error is None:
                self._idle.append(worker)
                del losses[id(piece)]  # its number may come again, as another piece's
                on_done(piece, result)
            elif _is_lost(error):
                self._start_worker()
                if loading:
                    lost_loading += piece.nodes <= _nodes_up()
                    if lost_loading >= LOSSES:
                        raise _given_up("its model", error)
                    continue
                losses[id(piece)] += 1
                if losses[id(piece)] >= LOSSES:
                    failed.append(_given_up(piece.path.name if isinstance(piece, Artefact) else "a piece", error))
                else:
                    again.append(piece)
            else:
                cause = getattr(error, "cause", error)
                if loading or isinstance(cause, DiskError):
                    raise cause
                self._idle.append(worker)
                failed.append(cause)
        if failed:
            raise failed[0]

    def __enter__(self) -> "ActorPool":
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        for worker in [*self._idle, *(worker for worker, _ in self._running.values())]:
            ray.kill(worker)
        if self._connected:
            ray.shutdown()

    def _start_worker(self) -> None:
        import ray

        worker = ray.remote(_Worker).options(**self._resources).remote(self._open_worker)
        self._running[worker.open.remote()] = (worker, _Opening(_nodes_up()))

    def _take_in(self, worker: Any, description: Any) -> None:
        if self.description not in (None, description):
            raise ModelError(
                f"two workers of the cluster are not loaded alike ({self.description}; {description}): name the number "
                "format and the device in the settings, and give all nodes the same models"
            )
        self.description = description
        self._idle.append(worker)

    def _next(self) -> tuple[Any, Any, Any, Exception | None]:
        """The next worker that is heard of, its piece, and what came of it: a result or an error."""
        import ray
        from ray.exceptions import RayError

        came = self._hear()
        worker, piece = self._running.pop(came)
        try:
            return worker, piece, ray.get(came), None
        except RayError as error:
            if _is_lost(error):
                ray.kill(worker)
            return worker, piece, None, error

    def _hear(self) -> Any:
        """What comes first of all that will come. Raises ``EmogapError`` if nothing can."""
        import ray

        without_room = None
        while True:
            came, _ = ray.wait(list(self._running), timeout=LOOK_SECONDS)
            if came:
                return came[0]
            if _count_room(self._resources):
                without_room = None
                continue
            without_room = without_room or time.monotonic()
            if time.monotonic() - without_room >= self._wait:
                raise EmogapError(
                    f"no node of the cluster could hold a worker, for {self._wait:g} s by now (scale.wait); "
                    "what is finished is kept: bring a node back and give the same command again"
                )


def _connect(scale: Scale) -> bool:
    """Reach the cluster of the settings, or start one of this machine; whether this process did so itself."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            "scale.executor = ray: Ray is not installed; pip install -r requirements-cluster.txt, or plain"
        ) from error
    if ray.is_initialized():
        return False
    try:
        _knock(scale.address)
        ray.init(
            address=scale.address or "local",
            log_to_driver=False,
            include_dashboard=False if not scale.address else None,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"scale.address = '{scale.address}': no Ray cluster there ({' '.join(str(error).split())}); start one with "
            "`ray start --head`, or see that its token is the one here (~/.ray/auth_token)"
        ) from error
    return True


def _knock(address: str) -> None:
    """Raises ``OSError`` if nobody listens at ``host:port``: Ray itself tries for minutes."""
    found = re.fullmatch(r"([\w.-]+):(\d+)", address)
    if found:
        socket.create_connection((found[1], int(found[2])), timeout=CONNECT_SECONDS).close()


def _resources(scale: Scale) -> dict[str, float]:
    """What a worker takes: CPUs, and one GPU where the cluster has any and the settings do not say otherwise."""
    import ray

    gpus = scale.gpus if scale.gpus is not None else float(ray.cluster_resources().get("GPU", 0) > 0)
    return {"num_cpus": scale.cpus, "num_gpus": gpus}


def _count_room(resources: dict[str, float]) -> int:
    """How many workers the nodes that are up could hold, busy or not."""
    import ray

    wanted = {"CPU": resources["num_cpus"], "GPU": resources["num_gpus"]}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(min(int(node.get(kind, 0) / need) for kind, need in wanted.items() if need) for node in nodes)


def _nodes_up() -> frozenset[str]:
    import ray

    return frozenset(node["NodeID"] for node in ray.nodes() if node["Alive"])


def _is_lost(error: Exception) -> bool:
    """Whether the worker is gone, not the piece bad."""
    from ray.exceptions import RayTaskError

    return not isinstance(error, RayTaskError)


def _given_up(what: str, error: Exception) -> EmogapError:
    cause = " ".join(str(error).split())
    return EmogapError(f"{LOSSES} workers died one after another with {what} in hand ({cause}); is memory short?")
