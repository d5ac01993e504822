"""A small Hugging Face Hub on loopback: lists, redirects to a file's bytes, honours ranges, and fails when told to."""

import contextlib
import hashlib
import http.server
import json
import re
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

PAGE = 2  # files that a page of a listing holds


class Hub:
  """Repositories by "datasets/OWNER/NAME" or "models/OWNER/NAME", each a list of commits: path → bytes.

  Attributes:
    commits: of every repository, oldest first.
    newest: the id of a repository's newest commit, where it must be a certain one.
    failures: what the next requests for a path that contains the key get: a status, "gated", or "cut" for half of
      the body.
    requests: (method, path, range) of all that were asked.
    stalled: the body of the file with this path stops half-way until it is cleared.
  """

  def __init__(self):
    self.commits: dict[str, list[dict[str, bytes]]] = {}
    self.newest: dict[str, str] = {}
    self.failures: dict[str, list[int | str]] = {}
    self.requests: list[tuple[str, str, str]] = []
    self.stalled = ""

  def commit_id(self, name: str, number: int = -1) -> str:
    """Of a repository's newest commit, or of another."""
    if number in (-1, len(self.commits[name]) - 1) and name in self.newest:
      return self.newest[name]
    return hashlib.sha1(f"{name} {number % len(self.commits[name])}".encode()).hexdigest()

  def find(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
    """(commit, its files)."""
    for number, files in enumerate(self.commits[name]):
      if revision == self.commit_id(name, number) or (revision == "main" and files is self.commits[name][-1]):
        return self.commit_id(name, number), files
    return None

  def bodies(self) -> int:
    """How many downloads of a file were begun."""
    return sum(method == "GET" and path.startswith("/bytes/") for method, path, _ in self.requests)


@contextlib.contextmanager
def serve(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
  """Runs a hub, which `huggingface_hub` and what it starts take for the real one; downloads go to `cache`."""
  hub = Hub()
  server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
  server.daemon_threads = True
  thread = threading.Thread(target=server.serve_forever, args=(0.05,))
  thread.start()
  try:
    address = f"http://127.0.0.1:{server.server_port}"
    template = "{repo_id}/resolve/{revision}/{filename}"
    for name, value in (("HF_ENDPOINT", address), ("HF_HUB_CACHE", str(cache)), ("HF_HUB_DISABLE_TELEMETRY", "1")):
      monkeypatch.setenv(name, value)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{address}/{template}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between two attempts
    yield hub
  finally:
    hub.stalled = ""
    server.shutdown()
    thread.join()
    server.server_close()


def kill_half_way(process: subprocess.Popen, downloads: Path, whole: str) -> None:
  """Kills a program once it has one file of a repository whole and a part of another.

  Args:
    process: the program; it has a part of the file that is stalled.
    downloads: the repository's folder in the cache.
    whole: name of the other file.
  """
  try:
    while not (any(downloads.glob("blobs/*.incomplete")) and any(downloads.glob(f"snapshots/**/{whole}"))):
      assert process.poll() is None, process.communicate()[1]
      threading.Event().wait(0.05)
  finally:
    process.kill()
    process.communicate()


class _Handler(http.server.BaseHTTPRequestHandler):
  hub: Hub
  protocol_version = "HTTP/1.1"

  def do_HEAD(self):
    self.do_GET()

  def do_GET(self):
    path, _, query = self.path.partition("?")
    path = urllib.parse.unquote(path)
    self.hub.requests.append((self.command, path, self.headers.get("Range", "")))
    failure = next((left.pop(0) for key, left in self.hub.failures.items() if key in path and left), None)
    if failure == "gated":
      return self._send(403, b"{}", {"X-Error-Code": "GatedRepo"})
    if isinstance(failure, int):
      return self._send(failure, b"{}", {"ratelimit": '"api";r=0;t=0'} if failure == 429 else {})
    match = re.fullmatch(
      r"/(?:api/(?P<kind>datasets|models)|(?P<files>datasets)|(?P<bytes>bytes))?/?(?P<rest>.*)", path
    )
    if match["kind"]:
      return self._api(match["kind"], match["rest"], urllib.parse.parse_qs(query))
    if match["bytes"]:
      return self._bytes(match["rest"], failure == "cut")
    return self._resolve("datasets" if match["files"] else "models", match["rest"])

  def _api(self, kind: str, rest: str, query: dict[str, list[str]]) -> None:
    """Of a revision its commit, and the listing of its files in pages."""
    owner, name, what, revision = [*rest.split("/", 3), "revision", "main"][:4]
    repository = f"{kind}/{owner}/{name}"
    if repository not in self.hub.commits:
      return self._send(401, b"{}", {"X-Error-Code": "RepoNotFound"})
    found = self.hub.find(repository, revision.split("/")[0])
    if found is None:
      return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
    commit, files = found
    if what == "revision":
      return self._json({"id": f"{owner}/{name}", "sha": commit})
    start = int(query.get("cursor", ["0"])[0])
    listed = [
      {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
      for path, content in sorted(files.items())
    ][start : start + PAGE]
    host = self.headers["Host"]
    following = f'<http://{host}/api/{kind}/{rest}?recursive=True&cursor={start + PAGE}>; rel="next"'
    return self._json(listed, {"Link": following} if start + PAGE < len(files) else {})

  def _resolve(self, kind: str, rest: str) -> None:
    """Sends on to where the bytes lie, as the Hub does with large files."""
    owner, name, _, revision, path = rest.split("/", 4)
    commit, files = self.hub.find(f"{kind}/{owner}/{name}", revision)
    if path not in files:
      return self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
    etag = hashlib.sha256(files[path]).hexdigest()
    headers = {"X-Repo-Commit": commit, "X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(files[path]))}
    location = f"http://localhost:{self.server.server_port}/bytes/{kind}/{owner}/{name}/{commit}/{path}"
    return self._send(302, b"", headers | {"Location": location})

  def _bytes(self, rest: str, cut: bool) -> None:
    kind, owner, name, commit, path = rest.split("/", 4)
    content = self.hub.find(f"{kind}/{owner}/{name}", commit)[1][path]
    wanted = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
    start = int(wanted[1]) if wanted else 0
    headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if wanted else {}
    self._send(206 if wanted else 200, content[start:], headers, cut=cut or path == self.hub.stalled)

  def _json(self, value, headers=None) -> None:
    self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"} | (headers or {}))

  def _send(self, status: int, content: bytes, headers: dict[str, str], *, cut: bool = False) -> None:
    self.send_response(status)
    for key, value in ({"Content-Length": str(len(content))} | headers).items():
      self.send_header(key, value)
    self.end_headers()
    if self.command == "HEAD":
      return
    self.wfile.write(content[: len(content) // 2] if cut else content)
    self.wfile.flush()
    while cut and self.hub.stalled:
      threading.Event().wait(0.05)
    self.close_connection = self.close_connection or cut

  def log_message(self, *args):
    del args
