"""Which device and number format this machine computes in."""

import os
import platform
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from emogap.errors import UsageError

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")
Launched = TypeVar("Launched")
Result = TypeVar("Result")


def pick_device(wanted: str = "auto") -> str:
    """For ``auto``, ``cuda`` if there is one, else ``cpu``. A device that is named, such as ``cuda:1``, is checked.

    Raises ``UsageError`` for a device that this machine does not have.
    """
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise UsageError(f"'{wanted}' is no device; give auto, cpu, cuda or, of several GPUs, one as cuda:1") from error
    here = torch.accelerator.current_accelerator(check_available=True)
    count = torch.accelerator.device_count() if here else 0
    if device.type != "cpu" and (here is None or device.type != here.type or (device.index or 0) >= count):
        has = f"{count} of kind {here.type}" if here else "no GPU that torch sees"
        raise UsageError(f"there is no device {wanted} on this machine, it has {has}; use auto or cpu")
    return "cpu" if device.type == "cpu" else wanted


def check_device(wanted: str, setting: str) -> None:
    """Raises ``UsageError``, naming the setting, for a device that this machine does not have. For ``auto`` and ``cpu``
    torch is not loaded."""
    if wanted not in ("auto", "cpu"):
        try:
            pick_device(wanted)
        except UsageError as error:
            raise UsageError(f"{setting}: {error}") from error


def pick_dtype(device: str, wanted: str = "auto") -> "torch.dtype":
    """For ``auto``, bf16 if the device computes in it, else fp16 on a GPU and fp32 on a CPU; else the format named."""
    import torch

    named = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    if wanted != "auto":
        return named[wanted]
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if cpu_has_bf16() else torch.float32


@lru_cache
def cpu_has_bf16() -> bool:
    """Whether this processor multiplies bf16 in hardware (AVX512-BF16 or AMX); emulated bf16 is slower than fp32."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return False
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return "avx512_bf16" in flags or "amx_bf16" in flags


def map_over_cores(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """``function(item)`` for every item, in order; each core works on an item of its own.

    Cores that share a small batch wait for one another after every operation. With one item per core they do not, and
    a result depends on its item alone, not on the number of cores. The number of cores is that of torch's threads
    (``OMP_NUM_THREADS``, ``torch.set_num_threads``).
    """
    import torch

    threads = torch.get_num_threads()
    if threads == 1:
        yield from map(function, items)
        return
    try:
        # What a worker sets also becomes the default of threads that start later; ``finally`` undoes that.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(function, items)
    finally:
        torch.set_num_threads(threads)


def read_one_behind(
    launch: Callable[[Item], Launched], read: Callable[[Launched], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """``read(launch(item))`` for every item, in order; each is read only after the next one was launched.

    A GPU computes while Python goes on: it gets the next batch before Python waits for the results of the one before.
    """
    before: list[Launched] = []
    for item in items:
        before.append(launch(item))
        if len(before) > 1:
            yield read(before.pop(0))
    yield from map(read, before)


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: an error class of torch or of Python says so, or the text of a ``RuntimeError``."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and re.search("out of memory|allocate memory", str(error)) is not None


def machine() -> str:
    """What this process runs on, for manifests: processor, cores, system, and the GPU where one is in use."""
    parts = [_processor(), f"{os.cpu_count()} cores", platform.system()]
    # A stage that used no GPU need not load torch to say so.
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        parts += [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return ", ".join(parts)


@lru_cache
def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor() or platform.machine()
    names = [
        line.partition(":")[2].strip()
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.machine()
