"""Raw text files: which there are, and their bytes as blocks of whole lines, whatever state they are in.

Lines are those of Python's text mode: ``\\n``, ``\\r\\n`` and a lone ``\\r`` end one. Nothing is held in memory but one
block and one unfinished line.
"""

import gzip
import math
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from emogap.errors import InputError, MissingInput

BLOCK_BYTES = 4 << 20
MOST_RATIO = 100
"""Text is packed to a quarter or a tenth; what shrinks to less than a hundredth was made to fill a disk."""
UNCHECKED_BYTES = 64 << 20
"""So much may come out of any archive."""
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Source:
    """One text: a file, plain or ``.gz``, or a member of a ``.zip``."""

    name: str
    """Unique among the sources of a run: the file's name without its extension, with folders before it if it takes
    them to tell two files apart."""
    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.member}" if self.member else str(self.path)


Finding = Callable[[str, int, int], None]
"""``(kind, how many, line of the first)``: called when something odd is met."""


def find_sources(raw_dirs: list[Path], extensions: list[str]) -> list[Source]:
    """The texts of all directories, in the order of the directories, each one's by name.

    Raises ``MissingInput`` for a directory that is not there or holds none, ``InputError`` for a damaged archive.
    """
    found: list[tuple[Path, str | None, tuple[str, ...]]] = []
    for folder in dict.fromkeys(path.resolve() for path in raw_dirs):
        if not folder.is_dir():
            raise MissingInput(
                f"raw directory {folder} not found; fetch one (`emogap fetch babylm-100m`) or name another "
                "with --raw DIR"
            )
        here = [entry for path in sorted(folder.iterdir()) for entry in _texts_in(path, extensions)]
        if not here:
            wanted = ", ".join(f"*{e}, *{e}.gz" for e in extensions)
            raise MissingInput(
                f"raw directory {folder} has no {wanted} and no .zip with such files; put the text there, or name "
                "another directory with --raw DIR or other extensions with --set process.extensions='[\".txt\"]'"
            )
        found += here
    names = _shortest_names([parts for _, _, parts in found])
    return [Source(name, path, member) for name, (path, member, _) in zip(names, found, strict=True)]


def _texts_in(path: Path, extensions: list[str]) -> Iterator[tuple[Path, str | None, tuple[str, ...]]]:
    """(file, member, the parts of its name) for a file that is a text or holds some."""
    if path.name.startswith("."):
        return
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    if not path.is_file():
        if plain.suffix in (*extensions, ".zip"):
            what = "a folder" if path.is_dir() else "a link that leads nowhere" if path.is_symlink() else "no file"
            raise InputError(f"{path} is named like a text but is {what}; take it away or put the text there")
        return
    if path.suffix == ".zip":
        with _reading(path), zipfile.ZipFile(path) as archive:
            members = sorted(info.filename for info in archive.infolist() if not info.is_dir())
        for member in members:
            inside = PurePosixPath(member)
            # macOS archives carry a shadow of every file under this folder.
            if inside.suffix in extensions and "__MACOSX" not in inside.parts:
                yield path, member, (*path.with_suffix("").parts, *inside.with_suffix("").parts)
        return
    if plain.suffix in extensions:
        yield path, None, plain.with_suffix("").parts


def _shortest_names(paths: list[tuple[str, ...]]) -> list[str]:
    """The last part of each path, lengthened to the left until no two are equal.

    Two files that only their extension tells apart (``a.train``, ``a.train.gz``) get a number.
    """
    lengths = [1] * len(paths)
    while True:
        names = ["/".join(path[-length:]) for path, length in zip(paths, lengths, strict=True)]
        times = Counter(names)
        clashing = [i for i, name in enumerate(names) if times[name] > 1 and lengths[i] < len(paths[i])]
        if not clashing:
            break
        for i in clashing:
            lengths[i] += 1
    return [name if times[name] == 1 else f"{name}#{names[:i].count(name) + 1}" for i, name in enumerate(names)]


def blocks(
    source: Source, longest_line: int, finding: Finding, advance: Callable[[int], None]
) -> Iterator[tuple[int, bytes]]:
    """(number of its first line, bytes) for every block of a source; lines end with ``\\n`` and are numbered from 1.

    BOM, NULs and line ends of other systems are removed and told to ``finding``. Of a line longer than
    ``longest_line`` bytes no more than one byte over that is kept, so that whoever checks lengths sees it.
    ``advance`` is told how many bytes of the file were read.
    """
    with _opened(source) as (stream, position):
        unfinished, held, lines, empty = bytearray(), b"", 1, True
        before = unpacked = 0
        most = most_unpacked(source)
        while chunk := stream.read(BLOCK_BYTES):
            unpacked += len(chunk)
            if unpacked > most:
                raise InputError(f"{source} unpacks to over {MOST_RATIO} times its size; unpack it by hand")
            if empty and chunk.startswith(_BOM):
                chunk = chunk[len(_BOM) :]
                finding("bom", 1, 1)
            empty = False
            chunk = held + chunk
            # The \n of a \r\n may be the first byte of the next chunk.
            held = b"\r" if chunk.endswith(b"\r") else b""
            chunk = _plain(chunk.removesuffix(b"\r"), lines, finding)
            end = chunk.rfind(b"\n") + 1
            if end:
                block = bytes(unfinished) + chunk[:end]
                yield lines, block
                lines += block.count(b"\n")
                unfinished.clear()
            unfinished += chunk[end:][: longest_line + 1 - len(unfinished)]
            advance(position() - before)
            before = position()
        if empty:
            finding("empty_file", 1, 0)
        if held:
            finding("cr", 1, lines)
        if unfinished or held:
            yield lines, bytes(unfinished) + b"\n"


def _plain(chunk: bytes, first_line: int, finding: Finding) -> bytes:
    """A chunk without NULs, all its lines ended by ``\\n``."""
    if b"\0" in chunk:
        finding("nul", chunk.count(b"\0"), first_line + chunk.count(b"\n", 0, chunk.index(b"\0")))
        chunk = chunk.replace(b"\0", b"")
    if b"\r" in chunk:
        finding("cr", chunk.count(b"\r"), first_line + chunk.count(b"\n", 0, chunk.index(b"\r")))
        chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return chunk


def most_unpacked(source: Source) -> float:
    """How many bytes the text of a source may have: no bound on what is not packed."""
    if source.member is None:
        packed = source.path.stat().st_size if source.path.suffix == ".gz" else math.inf
    else:
        with _reading(source.path), zipfile.ZipFile(source.path) as archive:
            packed = archive.getinfo(source.member).compress_size
    return max(UNCHECKED_BYTES, MOST_RATIO * packed)


def size(source: Source) -> int:
    """How many bytes ``blocks`` will report for a source: compressed ones of a ``.gz``, else those of the text."""
    if source.member is None:
        return source.path.stat().st_size
    with _reading(source.path), zipfile.ZipFile(source.path) as archive:
        return archive.getinfo(source.member).file_size


@contextmanager
def _opened(source: Source) -> Iterator[tuple[IO[bytes], Callable[[], int]]]:
    """The decompressed stream and a function that says how far reading is."""
    with _reading(source.path), source.path.open("rb") as file:
        if source.member is not None:
            with zipfile.ZipFile(file) as archive, archive.open(source.member) as stream:
                yield stream, stream.tell
        elif source.path.suffix == ".gz":
            with gzip.open(file) as stream:
                yield stream, file.tell
        else:
            yield file, file.tell


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path} is damaged ({error}); get it again") from error
    except (NotImplementedError, RuntimeError) as error:  # how zipfile reports encryption and unknown compression
        raise InputError(f"{path} cannot be unpacked ({error}); unpack it by hand") from error
