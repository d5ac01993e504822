"""The Hugging Face Hub: `hub:OWNER/NAME[@REVISION][/PATH]` names a repository, or what a path in it matches.

`huggingface_hub` does the work: it downloads several files at once, resumes a body that is cut off, keeps whole files
when it is killed, and puts them into its cache ($HF_HOME), where its own tools find and remove them.
"""

import contextlib
import dataclasses
import errno
import os
import re
import shutil
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from albert_jax.errors import InputError
from albert_jax.messages import say

PREFIX = "hub:"
PAUSES = (2, 10, 60)  # seconds between attempts
_ADDRESS = re.compile(r"(?P<name>[^/@]+/[^/@]+)(@(?P<revision>[^/@]+))?(/(?P<path>.*))?")
_COMMIT = re.compile("[0-9a-f]{40}")

Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class Repository:
  """A repository at one commit, so that it never changes.

  Attributes:
    kind: "dataset" or "model".
    name: OWNER/NAME.
    commit: 40 hexadecimal digits.
  """

  kind: str
  name: str
  commit: str

  def download(self, patterns: Sequence[str]) -> str:
    """The folder of the files that match a pattern, which are downloaded unless they are there.

    Nothing is asked of the network where all of them are there.

    Args:
      patterns: shell patterns of paths in the repository; `*` matches `/` too, as in `hf download --include`.

    Raises:
      InputError: no file matches, or they cannot be downloaded: no network, a gated repository, a full disk, ...
    """
    import huggingface_hub
    from huggingface_hub import errors

    files = dict(repo_id=self.name, repo_type=self.kind, revision=self.commit, allow_patterns=list(patterns))
    with contextlib.suppress(errors.LocalEntryNotFoundError):
      return huggingface_hub.snapshot_download(**files, local_files_only=True)
    with _quiet_unless_terminal(), _plain_errors(self.kind, self.name, self.commit):
      self._check(_patiently(huggingface_hub.snapshot_download, **files, dry_run=True), patterns)
      return _patiently(huggingface_hub.snapshot_download, **files)

  def _check(self, files: Sequence, patterns: Sequence[str]) -> None:
    """Checks that there is something to download, and room for it."""
    from huggingface_hub import constants

    if not files:
      raise InputError(f"{self.name} has no file {' or '.join(patterns)}: {_page(self.kind, self.name)}/tree/main")
    missing = [file.file_size for file in files if file.will_download]
    cache = Path(constants.HF_HUB_CACHE)
    free = shutil.disk_usage(next(folder for folder in (cache, *cache.parents) if folder.exists())).free
    say(f"downloading {len(missing)} files of {self.name}, {sum(missing) / 1e9:,.2f} GB, to {cache}")
    if sum(missing) > free:
      raise InputError(
        f"{self.name}: {sum(missing) / 1e9:,.2f} GB are to be downloaded, and {cache} has {free / 1e9:,.2f} GB left. "
        "Free some (`hf cache ls` lists what is there), or name another disk's folder as $HF_HOME."
      )


def open_repository(kind: str, address: str) -> tuple[Repository, str]:
  """Finds the commit that an address means; asks the Hub unless the address has it.

  Args:
    kind: "dataset" or "model".
    address: OWNER/NAME[@REVISION][/PATH]; a revision is a commit, a branch or a tag, with `%2F` for `/`.

  Returns:
    The repository, and PATH or "".

  Raises:
    InputError: the address has another form, or there is no such repository or revision, or no network.
  """
  match = _ADDRESS.fullmatch(address)
  if not match:
    raise InputError(f"{PREFIX}{address} is no address on the Hub: write {PREFIX}OWNER/NAME[@REVISION][/PATH].")
  name, revision = match["name"], urllib.parse.unquote(match["revision"] or "main")
  return Repository(kind, name, _commit(kind, name, revision)), (match["path"] or "").strip("/")


def _commit(kind: str, name: str, revision: str) -> str:
  if _COMMIT.fullmatch(revision):
    return revision
  import huggingface_hub

  with _plain_errors(kind, name, revision):
    commit = _patiently(huggingface_hub.HfApi().repo_info, name, repo_type=kind, revision=revision).sha
  say(f"{name}@{revision} is now commit {commit}; {PREFIX}{name}@{commit} names it for good, also without a network")
  return commit


def _page(kind: str, name: str) -> str:
  from huggingface_hub import constants

  return f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{name}"


def _patiently(call: Callable[..., Result], *args, **kwargs) -> Result:
  """Calls, and calls again where the Hub is busy: the library does so only for a part of its requests."""
  for pause in PAUSES:
    try:
      return call(*args, **kwargs)
    except Exception as error:
      status = _status(error)
      if status != 429 and status < 500:
        raise
      say(f"the Hub answered {status}: trying again in {pause} s")
      time.sleep(pause)
  return call(*args, **kwargs)


@contextlib.contextmanager
def _plain_errors(kind: str, name: str, revision: str) -> Iterator[None]:
  """Says in a line what went wrong, and what to do."""
  try:
    yield
  except InputError:
    raise
  except Exception as error:  # of HTTP, of the Hub, of the disk: they have no class in common
    raise InputError(f"{PREFIX}{name}: {_reason(error, kind, name, revision)}") from error


def _reason(error: Exception, kind: str, name: str, revision: str) -> str:
  from huggingface_hub import errors

  page, kept = _page(kind, name), "what is downloaded is kept, and the same command goes on"
  status, error = _status(error), _http_error(error) or error
  if isinstance(error, errors.GatedRepoError):
    return f"the {kind} is gated: accept its terms at {page}, then log in (`hf auth login`, or set $HF_TOKEN)."
  if isinstance(error, errors.RevisionNotFoundError):
    return f"there is no revision {revision!r}; {page}/commits/main lists the commits."
  if isinstance(error, errors.RepositoryNotFoundError):
    return f"there is no such {kind}, or it is private: check {page}, or log in (`hf auth login`, or set $HF_TOKEN)."
  if isinstance(error, errors.HFValidationError):
    return f"no name that the Hub knows: write {PREFIX}OWNER/NAME[@REVISION][/PATH]."
  if status == 429:
    return f"the Hub limits how often it is asked: wait some minutes, or log in (`hf auth login`); {kept}."
  if status:
    return f"the Hub answered {status}: try again later; {kept}."
  if isinstance(error, OSError) and error.errno == errno.ENOSPC:
    return f"no space left for the download. Free some, or name another disk's folder as $HF_HOME; {kept}."
  if isinstance(error, OSError) and error.errno:
    return f"{error.filename or 'the cache'} cannot be written ({error.strerror}): name another folder as $HF_HOME."
  return (
    f"the Hub cannot be reached or does not answer ({_first_line(error)}). Check the network; {kept}. Without one, "
    f"`hf download {name} --repo-type={kind} --revision=COMMIT` elsewhere and copy its cache ($HF_HOME)."
  )


def _http_error(error: BaseException | None) -> Exception | None:
  """The Hub's answer, which the library may wrap in errors of its own."""
  from huggingface_hub import errors

  while error is not None and not isinstance(error, errors.HfHubHTTPError):
    error = error.__cause__
  return error


def _status(error: BaseException) -> int:
  """The status of the Hub's answer, 0 where there was none."""
  answer = _http_error(error)
  return answer.response.status_code if answer is not None else 0


def _first_line(error: BaseException) -> str:
  while error.__cause__ is not None:  # the library's own explanation is a paragraph
    error = error.__cause__
  return f"{type(error).__name__}: {error}".split("\n")[0][:200]


@contextlib.contextmanager
def _quiet_unless_terminal() -> Iterator[None]:
  """Without progress bars where they would fill a log."""
  from huggingface_hub import utils

  hide = not (sys.stderr.isatty() or utils.are_progress_bars_disabled() or "HF_HUB_DISABLE_PROGRESS_BARS" in os.environ)
  if hide:
    utils.disable_progress_bars()
  try:
    yield
  finally:
    if hide:
      utils.enable_progress_bars()
