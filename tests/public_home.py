"""A public repository of data on the loopback interface, which answers as GitHub and the hub do."""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from emogap.fetch.download import Servers


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


class PublicHome:
    """A repository, in the answers of GitHub and of the hub. ``breaks[path]``: after how many bytes an answer ends."""

    def __init__(self, repository: str, commit: str, revision: str):
        self.repository, self.commit, self.revision = repository, commit, revision
        self.files: dict[str, bytes] = {}
        self.behind_pointers: dict[str, bytes] = {}
        self.links: set[str] = set()
        self.ranges, self.lies = True, {}
        self.breaks: dict[str, list[int]] = {}
        self.asked: Counter[str] = Counter()
        self.starts: list[int] = []

    def content(self, path: str) -> bytes:
        if path in self.behind_pointers:
            held = self.behind_pointers[path]
            digest = hashlib.sha256(held).hexdigest()
            return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(held)}\n".encode()
        return self.files[path]

    def paths(self) -> list[str]:
        return sorted(self.files.keys() | self.behind_pointers.keys())

    def answer(self, url: str) -> bytes | None:
        """The whole content at a URL; None is 404."""
        path = unquote(urlsplit(url).path)
        on_github, on_hub = f"/api/repos/{self.repository}", f"/api/datasets/{self.repository}"
        if path == f"{on_github}/commits/{self.revision}":
            return json.dumps({"sha": self.commit}).encode()
        if path == f"{on_hub}/revision/{self.revision}":
            siblings = [self.hub_entry(p) for p in self.paths()]
            return json.dumps({"id": self.repository, "sha": self.commit, "siblings": siblings}).encode()
        if path == f"{on_github}/git/trees/{self.commit}":
            tree = [
                {
                    "path": p,
                    "type": "blob",
                    "mode": "120000" if p in self.links else "100644",
                    "size": len(self.content(p)),
                    "sha": git_sha1(self.lies.get(p, self.content(p))),
                }
                for p in self.paths()
            ]
            tree.append({"path": "data", "type": "tree", "mode": "040000"})
            return json.dumps({"tree": tree, "truncated": False}).encode()
        at = f"{self.repository}/{self.commit}/"
        for before, held in ((f"/raw/{at}", self.content), (f"/media/{at}", self.held)):
            if path.startswith(before) and path.removeprefix(before) in self.paths():
                return held(path.removeprefix(before))
        before = f"/datasets/{self.repository}/resolve/{self.commit}/"
        return self.held(path.removeprefix(before)) if path.startswith(before) else None

    def held(self, path: str) -> bytes:
        return self.behind_pointers.get(path, self.files.get(path))

    def hub_entry(self, path: str) -> dict:
        said = self.lies.get(path, self.content(path))
        entry = {"rfilename": path, "size": len(self.held(path)), "blobId": git_sha1(said)}
        if path in self.behind_pointers:
            sha256 = hashlib.sha256(self.held(path)).hexdigest()
            entry["lfs"] = {"sha256": sha256, "size": entry["size"], "pointerSize": len(self.content(path))}
        return entry


@contextmanager
def serving(public: PublicHome) -> Iterator[Servers]:
    """Its servers on the loopback interface, while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = public.answer(self.path)
            name = unquote(urlsplit(self.path).path).rsplit("/", 1)[-1]
            public.asked[name] += 1
            if content is None:
                self.send_response(404)
                self.send_header("X-Error-Code", "RevisionNotFound")
                self.end_headers()
                return
            start = 0
            if public.ranges and "Range" in self.headers:
                start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
                public.starts.append(start)
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            body = content[start:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            breaks = public.breaks.get(name)
            self.wfile.write(body[: breaks.pop(0)] if breaks else body)

        def do_HEAD(self):
            """What the hub's library asks of a file before it downloads it."""
            content = public.answer(self.path)
            self.send_response(404 if content is None else 200)
            if content is not None:
                self.send_header("X-Repo-Commit", public.commit)
                self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    yield Servers(f"{url}/api", f"{url}/raw", f"{url}/media", url)
    server.shutdown()
    server.server_close()
