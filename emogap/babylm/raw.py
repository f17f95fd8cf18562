"""Raw text files: finding them, and reading their bytes as blocks of whole lines, whatever state they are in.

Lines are those of Python's text mode: ``\\n``, ``\\r\\n`` and a lone ``\\r`` end one. Nothing is held in memory but one
block and one unfinished line.
"""

import gzip
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations, count, islice, zip_longest
from pathlib import Path, PurePosixPath
from typing import IO

from emogap.errors import InputError, MissingInput
from emogap.paths import is_utf8
from emogap.text.reading import check_unpacked

BLOCK_BYTES = 4 << 20
_BOM = b"\xef\xbb\xbf"
_DEFAULT = ".train"
_LATER = ".txt"
"""A second ending that file names have in BabyLM's later releases: ``aochildes.train.txt``."""
_NO_BOUND = 1 << 60


@dataclass(frozen=True)
class Source:
    """One text: a file, plain or ``.gz``, or a member of a ``.zip``."""

    name: str
    """Unique among the sources of a run: the file's name without its extension, with folders before it where they are
    needed to tell two files apart."""
    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.member}" if self.member else str(self.path)


_Found = tuple[Path, str | None, tuple[str, ...]]
"""File, member, the parts of its name."""
Finding = Callable[[str, int, int], None]
"""``(kind, how many, line of the first)``: called when something odd is met."""


def find_sources(raw_dirs: list[Path], extensions: list[str]) -> list[Source]:
    """The texts of all directories, in the order of the directories, and by name within each.

    A directory without any text is searched once more for the file names of BabyLM's later releases. Raises
    ``MissingInput`` for a directory that is not there or holds no text, ``InputError`` for a damaged archive, and for
    a text that would count twice.
    """
    found: list[_Found] = []
    for folder in dict.fromkeys(path.resolve() for path in raw_dirs):
        if not folder.is_dir():
            raise MissingInput(
                f"raw directory {folder} not found; fetch one (`emogap fetch babylm-100m`) or name another "
                "with --raw DIR"
            )
        entries = sorted(folder.iterdir())
        for endings in (extensions, [f"{extension}{_LATER}" for extension in extensions]):
            if here := [text for path in entries for text in _texts_in(path, endings)]:
                break
        else:
            wanted = ", ".join(f"*{e}, *{e}.gz" for e in extensions)
            raise MissingInput(
                f"raw directory {folder} has no {wanted} and no .zip with such files (an archive inside an archive is "
                "not opened); put the text there, or name another directory with --raw DIR or other extensions with "
                "--set process.extensions='[\".txt\"]'"
            )
        found += here
    names = _shortest_names([parts for _, _, parts in found])
    sources = [Source(name, path, member) for name, (path, member, _) in zip(names, found, strict=True)]
    for source in sources:
        if not is_utf8(source.name):
            raise InputError(
                f"{str(source.path)!a} has a name that is not UTF-8, and sources are called so; rename the file"
            )
    _refuse_repeats(sources, [parts[-1] for _, _, parts in found])
    return sources


def _texts_in(path: Path, extensions: Sequence[str]) -> Iterator[_Found]:
    """The texts that an entry of a directory holds: one, several (in a ``.zip``), or none."""
    if path.name.startswith("."):
        return
    is_zip = path.suffix.lower() == ".zip"
    stem = _stem(path.stem if _is_gz(path) else path.name, extensions)
    if not path.is_file():
        if is_zip or stem is not None:
            what = "a folder" if path.is_dir() else "a link that leads nowhere" if path.is_symlink() else "no file"
            raise InputError(f"{path} is named like a text but is {what}; take it away or put the text there")
        return
    if is_zip:
        for member in dict.fromkeys(_files_in(path)):
            inside = PurePosixPath(member)
            stem = _stem(inside.name, extensions)
            if stem is not None and not _is_hidden(inside):
                folders = [part for part in inside.parent.parts if part not in ("/", "..")]
                yield path, member, (*path.with_suffix("").parts, *folders, stem)
    elif stem is not None:
        yield path, None, (*path.parent.parts, stem)


def _stem(name: str, extensions: Sequence[str]) -> str | None:
    """A file's name without the longest of ``extensions`` that it ends in, in any case; None if it has none of them."""
    for extension in sorted(extensions, key=len, reverse=True):
        ending = extension if extension.startswith(".") or not extension else f".{extension}"
        if ending and name.lower().endswith(ending.lower()):
            return name[: -len(ending)]
        if not ending and not PurePosixPath(name).suffix:
            return name
    return None


def _files_in(archive: Path) -> list[str]:
    """The names of an archive's files, sorted; one that it holds twice stands twice."""
    with _reading(archive), zipfile.ZipFile(archive) as opened:
        return sorted(info.filename for info in opened.infolist() if not info.is_dir())


def _is_hidden(member: PurePosixPath) -> bool:
    """Whether a part of the path begins with a dot, or belongs to the copies of files that macOS adds to archives."""
    return any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in member.parts)


def members_read(archive: Path, sources: Sequence[Source]) -> str:
    """The entry of a recipe that says which members of an archive are read.

    Empty where the archive's bytes alone tell it: the members are those of the default extension, which recipes never
    named, or all files of the archive have one extension and all are read. In any other case an artefact without this
    entry may have been made from other members.
    """
    read = [source.member for source in sources if source.path == archive and source.member]
    files = _files_in(archive) if read else []
    by_default = [f for f in files if PurePosixPath(f).suffix == _DEFAULT and "__MACOSX" not in PurePosixPath(f).parts]
    is_one_kind = read == files and len({PurePosixPath(file).suffix for file in files}) == 1
    return "" if read == by_default or is_one_kind else ", ".join(read)


def _refuse_repeats(sources: Sequence[Source], stems: Sequence[str]) -> None:
    """Raise ``InputError`` for one file under two paths, and for equal texts in files or members of the same stem.

    Only two plain files in two directories may be equal: whoever names both directories gets both.
    """
    seen: dict[tuple[int, int, str | None], Source] = {}
    for source in sources:
        found = source.path.stat()
        earlier = seen.setdefault((found.st_dev, found.st_ino, source.member), source)
        if earlier is not source:
            raise InputError(f"{earlier} and {source} are one file, which would count twice; take one of them away")
    of_name: dict[str, list[Source]] = {}
    for source, stem in zip(sources, stems, strict=True):
        of_name.setdefault(stem, []).append(source)
    for first, second in (pair for group in of_name.values() for pair in combinations(group, 2)):
        is_apart = first.path.parent != second.path.parent and not (_is_packed(first) or _is_packed(second))
        if not is_apart and _are_equal(first, second):
            raise InputError(f"{first} and {second} hold the same text, which would count twice; take one of them away")


def _is_packed(source: Source) -> bool:
    return source.member is not None or _is_gz(source.path)


def _is_gz(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _are_equal(first: Source, second: Source) -> bool:
    """Whether two texts have the same lines, and at least one. Reading stops at the first difference."""
    are_empty = True
    for ours, theirs in zip_longest(_lines(first), _lines(second)):
        if ours != theirs:
            return False
        are_empty = False
    return not are_empty


def _shortest_names(paths: list[tuple[str, ...]]) -> list[str]:
    """The last part of each path, lengthened to the left until no two different paths have the same.

    Two files that differ only in their extension (``a.train``, ``a.train.gz``) get a number each: ``a#1``, ``a#2``.
    """
    lengths = dict.fromkeys(paths, 1)
    while True:
        names = {path: "/".join(path[-length:]) for path, length in lengths.items()}
        times = Counter(names.values())
        clashing = [path for path in lengths if times[names[path]] > 1]
        if not clashing:
            break
        for path in clashing:
            lengths[path] += 1
    twins = Counter(paths)
    taken = {name for path, name in names.items() if twins[path] == 1}
    result = []
    for path in paths:
        numbered = (f"{names[path]}#{number}" for number in count(1))
        result.append(names[path] if twins[path] == 1 else next(name for name in numbered if name not in taken))
        taken.add(result[-1])
    return result


def blocks(
    source: Source, longest_line: int, finding: Finding, advance: Callable[[int], None]
) -> Iterator[tuple[int, bytes]]:
    """(number of its first line, bytes) for every block of a source; lines end with ``\\n`` and are numbered from 1.

    BOM, NULs and line ends of other systems are removed and reported to ``finding``. To bound memory, a line longer
    than ``longest_line`` bytes may lose bytes but stays longer than that, so that whoever checks lengths sees it.
    ``advance`` is called with how many bytes of the file were just read.
    """
    with _opened(source) as (stream, position):
        unfinished, held, lines, empty = bytearray(), b"", 1, True
        before = unpacked = 0
        packed, _ = _sizes(source)
        while chunk := stream.read(BLOCK_BYTES):
            unpacked += len(chunk)
            if _is_packed(source):
                check_unpacked(source, packed, unpacked)
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


def _lines(source: Source) -> Iterator[tuple[int, bytes]]:
    """(number, line) for every line of a source, however long."""
    for first, block in blocks(source, _NO_BOUND, lambda *_: None, lambda _: None):
        yield from enumerate(block.splitlines(), first)


def first_lines(source: Source, count: int) -> list[tuple[int, str]]:
    """(number, text) of the first lines of a source that are not blank, as they stand there."""
    decoded = ((number, line.decode("utf-8", "replace")) for number, line in _lines(source))
    return list(islice(((number, text) for number, text in decoded if text.strip()), count))


def _plain(chunk: bytes, first_line: int, finding: Finding) -> bytes:
    """A chunk without NULs, all its lines ended by ``\\n``."""
    if b"\0" in chunk:
        finding("nul", chunk.count(b"\0"), first_line + chunk.count(b"\n", 0, chunk.index(b"\0")))
        chunk = chunk.replace(b"\0", b"")
    if b"\r" in chunk:
        finding("cr", chunk.count(b"\r"), first_line + chunk.count(b"\n", 0, chunk.index(b"\r")))
        chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return chunk


def size(source: Source) -> int:
    """How many bytes ``blocks`` will report for a source: compressed ones of a ``.gz``, else those of the text."""
    return _sizes(source)[1]


def _sizes(source: Source) -> tuple[int, int]:
    """The bytes of a source on the disk, and those that ``blocks`` will report."""
    if source.member is None:
        return (source.path.stat().st_size,) * 2
    with _reading(source.path), zipfile.ZipFile(source.path) as archive:
        member = archive.getinfo(source.member)
        return member.compress_size, member.file_size


@contextmanager
def _opened(source: Source) -> Iterator[tuple[IO[bytes], Callable[[], int]]]:
    """The decompressed stream, and a function that returns how many bytes were read (of a ``.gz``: compressed ones)."""
    with _reading(source.path), source.path.open("rb") as file:
        if source.member is not None:
            with zipfile.ZipFile(file) as archive, archive.open(source.member) as stream:
                yield stream, stream.tell
        elif _is_gz(source.path):
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
