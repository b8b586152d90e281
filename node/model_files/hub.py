"""Lists and fetches files of the Hugging Face hub for ``cuckoo models pull``. A running node never imports this.

Tokens come from ``HF_TOKEN`` or the login that ``hf auth login`` wrote, ``HF_ENDPOINT`` names another hub; both are
huggingface_hub's own business, and so are redirects, rate limits and a connection that breaks. What is ours is that a
file goes on where an earlier run stopped, however it stopped: huggingface_hub begins each file anew.
"""

import errno
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from protocol.errors import ConfigError, DiskFull, Unavailable
from protocol.task.catalog import HubRepository

if TYPE_CHECKING:
    from types import TracebackType

INCOMPLETE: Final = ".incomplete"
"""Ends the name of a file of which a part is here."""

CHUNK_BYTES: Final = 1024 * 1024
MAX_FILES: Final = 10_000
"""Most files of a repository that are looked at; published pipelines have some dozens."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository at one revision."""

    name: str
    """Path in the repository, with ``/``."""
    size: int
    """Bytes."""
    sha256: str | None
    """Hexadecimal digest of a large file; None where the hub names only git's."""
    git_sha1: str
    """What git calls a file's content; of a large one, that of its pointer."""

    def is_content(self, path: Path, sha256: str | None = None) -> bool:
        """Say whether the file at ``path`` holds what the hub lists.

        Args:
            path: A file.
            sha256: Its hexadecimal digest, where that is known already.
        """
        if path.stat().st_size != self.size:
            return False
        if self.sha256 is not None and sha256 is not None:
            return sha256 == self.sha256
        hashed = hashlib.sha256()
        if self.sha256 is None:
            hashed = hashlib.sha1(f"blob {self.size}\0".encode(), usedforsecurity=False)
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                hashed.update(chunk)
        return hashed.hexdigest() == (self.sha256 or self.git_sha1)


def list_files(source: HubRepository) -> dict[str, RemoteFile]:
    """List all files of a repository at its revision, by name.

    Raises:
        ConfigError: There is no such repository or revision, or it wants a token or an agreement first.
        Unavailable: The hub does not answer.
    """
    from huggingface_hub import HfApi  # imported here: costs 200 ms
    from huggingface_hub.hf_api import RepoFile

    found: dict[str, RemoteFile] = {}
    try:
        with _worded(source):
            for entry in HfApi().list_repo_tree(source.repository, recursive=True, revision=source.revision):
                if isinstance(entry, RepoFile):
                    sha256 = entry.lfs.sha256 if entry.lfs is not None else None
                    found[entry.path] = RemoteFile(entry.path, entry.size, sha256, entry.blob_id)
                if len(found) > MAX_FILES:
                    raise ConfigError(f"{source.repository} has more than {MAX_FILES:,} files: this is no model")
    except (ValueError, KeyError, TypeError) as error:  # what answered is no hub, but a portal of the line, say
        raise Unavailable(f"{source.repository}: what answers is no hub ({type(error).__name__})") from error
    return found


def fetch(source: HubRepository, file: RemoteFile, path: Path, on_bytes: Callable[[int], None]) -> None:
    """Bring one file to ``path``, going on with what ``path`` + ``.incomplete`` holds of it.

    Args:
        source: The repository and its revision.
        file: Which file, as the hub lists it.
        path: Where to put it; it appears when it is whole. Its folder is made where there is none.
        on_bytes: Told how many more bytes are here; fewer than none where what was here is fetched anew.

    Raises:
        ConfigError: As for ``list_files``.
        Unavailable: The hub does not answer or sends something else; what came is kept for the next time.
        DiskFull: No space is left.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # re-exported silently

    incomplete = path.with_name(path.name + INCOMPLETE)
    with _worded(source):
        path.parent.mkdir(parents=True, exist_ok=True)
        with incomplete.open("ab") as target:
            here = target.tell()
            if here > file.size:  # of another revision
                target.truncate(0)
                here = 0
            if here < file.size:
                http_get(
                    hf_hub_url(source.repository, file.name, revision=source.revision),
                    target,
                    resume_size=here,
                    # A compressed answer has no places at which to go on.
                    headers={**build_hf_headers(), "Accept-Encoding": "identity"},
                    expected_size=file.size,
                    tqdm_class=_meter(file, here, on_bytes),
                )
        incomplete.replace(path)


def _meter(file: RemoteFile, here: int, on_bytes: Callable[[int], None]) -> type[Any]:  # Any: for a class of tqdm
    """Make what huggingface_hub tells its progress to; it also stops a file that is longer than the hub said."""

    class Meter:
        """As much of tqdm as is used."""

        def __init__(self, **_settings: object) -> None:
            self._total = here

        def __enter__(self) -> Self:
            return self

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None"
        ) -> None:
            pass

        def update(self, count: int) -> None:
            self._total += count
            if self._total > file.size:
                raise Unavailable(f"{file.name}: the hub sends more than the {file.size:,} bytes that it lists")
            on_bytes(count)

    return Meter


@contextmanager
def _worded(source: HubRepository) -> Iterator[None]:
    """Turn what goes wrong at the hub into one line for people."""
    import httpx2
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # its advice would stand between our lines
    where = f"{source.repository} at {source.revision[:12]}"
    try:
        yield
    except GatedRepoError:
        raise ConfigError(
            f"{source.repository}: its owner wants an agreement first: accept it on the page of the model, "
            "then set HF_TOKEN to a token of yours, or run `hf auth login`"
        ) from None
    except RevisionNotFoundError:
        raise ConfigError(f"{source.repository}: there is no revision {source.revision}") from None
    except RepositoryNotFoundError:
        raise ConfigError(
            f"{source.repository}: there is no such repository, or it is private: set HF_TOKEN to a token that may "
            "read it, or run `hf auth login`"
        ) from None
    except HfHubHTTPError as error:
        raise Unavailable(
            f"{where}: the hub answers with status {error.response.status_code}: try again later"
        ) from None
    except httpx2.HTTPError as error:
        raise Unavailable(f"{where}: the hub does not answer ({type(error).__name__}): run it again to go on") from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFull(f"{where}: no space is left: make room and run it again to go on") from None
        first_line = str(error).partition("\n")[0]
        raise Unavailable(f"{where}: {first_line}: run it again to go on") from None
