"""Work spread over workers: this process, or actors of a Ray cluster. Each loads once and gets one piece at a time.

If a worker is lost, alone or with its node, only the piece that it was working on is lost. This piece is given to
another worker, so a worker must write the same when it does a piece again. Pieces are finished in no particular order.

Which worker gets which piece, and how a lost one is replaced, is decided here and not left to Ray (2.60). Its own means
were tried with the same tests, or their code was read:

- Actors with ``max_restarts`` and ``max_task_retries``: retries are used up while the actor is still restarting (two
  within four seconds, with nobody at work), so the piece of a killed node was given up; without a limit, a piece that
  kills its workers would be retried for ever. A retry is also bound to its actor, however idle the others are.
- Ray Data (``map_batches`` over such actors): for the same reason pieces went missing when a node was killed, when no
  node was left, and together with a piece that killed its workers. Also, all models are loaded anew in every run, and
  rewrites have several runs.
- ``ray.util.ActorPool``: does not say which piece's error it raises, and gives pieces to an actor that is restarting.
- Tasks whose processes keep the model: Ray assigns a process one GPU now and another later, but the model stays on the
  first one.
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
"""Called with the amount of work that was done since the last call."""
Size = Callable[[Any, Any], int]
"""(piece, result) → the amount of work that the piece was."""
OpenWorker = Callable[[], tuple[Work, Any]]
"""Called once in each actor: loads, and returns the function that does a piece, and a description of what was loaded
(equal for all workers, so that no row depends on which worker made it)."""
OpenAnywhere = Callable[[Advance], tuple[Work, Callable[[], Any]]]
"""The same for a worker that may be this process: it gets a function to report its progress with, and returns the
description by a function, so that it loads only when that is needed."""

LOSSES = 3
"""A piece with which this many workers died is not given to another one."""
LOOK_SECONDS = 5.0
"""How often the nodes are checked while no worker returns anything."""
CONNECT_SECONDS = 10
"""How long the head of a cluster may take to answer."""


@contextmanager
def workers(scale: Scale, open_worker: OpenAnywhere, advance: Advance, size: Size) -> "Iterator[Here | _There]":
    """The workers that the settings name, started when they are first needed and stopped at the end of the block.

    ``description()`` says what they have loaded. ``run(pieces, on_done)`` has every piece done once and calls
    ``on_done(piece, result)`` in this process as each is finished. ``advance`` is called with the progress: as the
    worker reports it if that is this process, else with the ``size`` of each finished piece.
    """
    if scale.executor == "plain":
        yield Here(partial(open_worker, advance))
        return
    with ExitStack() as closing:
        pool = cache(lambda: closing.enter_context(ActorPool(scale, partial(_open_there, open_worker))))
        yield _There(pool, advance, size)


class Here:
    """This process as the only worker; an error in a piece ends the run at once."""

    def __init__(self, open_worker: Callable[[], tuple[Work, Callable[[], Any]]]):
        self._opened = cache(open_worker)

    def description(self) -> Any:
        return self._opened()[1]()

    def run(self, pieces: Iterable[Any], on_done: Callable[[Any, Any], None]) -> None:
        for piece in pieces:
            on_done(piece, self._opened()[0](piece))


class _There:
    """A pool of actors that is started when it is first used."""

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
    """Ignores the progress that a cluster's worker reports: the process that gives out its pieces counts them."""


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
    """Stands in the place of a piece while a worker is loading."""

    nodes: frozenset[str]
    """Nodes that were up when the worker was started: if one is gone, its loss says nothing about what it loads."""


_NO_MORE = object()


class ActorPool:
    """Workers on a cluster, all started at once and ended with the block; a lost one is replaced when there is room.

    Workers for which there is no room yet are waited for as long as some node, busy or not, could hold one; if no node
    could, for ``scale.wait`` seconds. Raises ``UsageError`` without Ray, without a cluster, or without room on it.
    """

    def __init__(self, scale: Scale, open_worker: OpenWorker):
        self._connected = _connect(scale)
        self._resources, self._wait = _resources(scale), scale.wait
        self._open_worker = open_worker
        self._running: dict[Any, tuple[Any, Any]] = {}  # Ray's reference to a result → worker and piece
        self._idle: list[Any] = []
        self.description: Any = None
        """The description of what the workers have loaded; None until the first one has."""
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
        """How many workers have loaded: idle ones, and those at work on a piece."""
        return len(self._idle) + sum(not isinstance(piece, _Opening) for _, piece in self._running.values())

    def run(self, pieces: Iterable[Any], on_done: Callable[[Any, Any], None]) -> None:
        """Have every piece done once; ``on_done(piece, result)`` is called in this process as each is finished.

        ``pieces`` is read as workers become free, not before the first one is loaded. A piece that fails does not stop
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
                del losses[id(piece)]  # a later piece may get the same id
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
        """The next worker that returns something, its piece, and the result or the error."""
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
        """Ray's reference to the first result to arrive. Raises ``EmogapError`` once no node can hold a worker."""
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
    """Connect to the cluster of the settings, or start one on this machine. False if Ray was connected already."""
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
    """How many workers the nodes that are up could hold if they were idle."""
    import ray

    wanted = {"CPU": resources["num_cpus"], "GPU": resources["num_gpus"]}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(min(int(node.get(kind, 0) / need) for kind, need in wanted.items() if need) for node in nodes)


def _nodes_up() -> frozenset[str]:
    import ray

    return frozenset(node["NodeID"] for node in ray.nodes() if node["Alive"])


def _is_lost(error: Exception) -> bool:
    """Whether an error means that the worker is gone, not that its piece failed."""
    from ray.exceptions import RayTaskError

    return not isinstance(error, RayTaskError)


def _given_up(what: str, error: Exception) -> EmogapError:
    cause = " ".join(str(error).split())
    return EmogapError(f"{LOSSES} workers died one after another with {what} in hand ({cause}); is memory short?")
