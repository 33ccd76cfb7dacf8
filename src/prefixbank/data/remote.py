"""Folders elsewhere: in a repository of the Hugging Face hub, or wherever fsspec reaches.

An address is `hf://OWNER/NAME`, a URL of fsspec (`s3://bucket/folder`), or a path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefixbank.env import hub_is_offline
from prefixbank.errors import HubError, UsageError
from prefixbank.names import is_file_name

HUB = "hf://"


def upload(folder: Path, files: Sequence[str], address: str, *, message: str, private: bool) -> str:
    """Copy files of a folder to an address, in their order.

    Args:
        folder: where they are.
        files: their names below it.
        address: where to; a repository is made if there is none.
        message: of the commit.
        private: whether a repository that is made is.

    Returns:
        The commit in the repository; empty for a folder.

    Raises:
        UsageError: the address cannot be used, or there is something already.
        HubError: it cannot be reached or written.
    """
    _check_address(address)
    if address.startswith(HUB):
        with _hub(address) as (api, repository):
            api.create_repo(repository, private=private, exist_ok=True)
            done = api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                allow_patterns=list(files),
                commit_message=message,
            )
            return str(done.oid)
    with _file_system(address) as (system, root):
        # What an interrupted push left is written again; `files` end with the one that opens them.
        begun = {f"{root}/{name}" for name in files[:-1]}
        if system.exists(root) and (system.isfile(root) or not begun.issuperset(system.find(root))):
            raise UsageError(
                f"{address} exists already",
                expected="an address with nothing at it",
                fix=f"address={address}-2    or remove it first",
            )
        for name in files:
            target = f"{root}/{name}"
            system.makedirs(target.rpartition("/")[0], exist_ok=True)
            system.put_file(str(folder / name), target)
    return ""


def download(
    address: str, revision: str, wanted: Callable[[str], bool], needed: str, folder: Path
) -> str:
    """Copy files from an address into a folder.

    Args:
        address: where from.
        revision: branch, tag or commit of a repository; empty: its main branch.
        wanted: whether a file is copied, by its name below the address.
        needed: the file without which there is nothing to copy.
        folder: where to.

    Returns:
        The commit that the revision stands for; empty for a folder.

    Raises:
        UsageError: the address cannot be used, or has no such files.
        HubError: it cannot be reached or read.
    """
    _check_address(address)
    if address.startswith(HUB):
        with _hub(address) as (api, repository):
            info = api.repo_info(repository, revision=revision or None)
            names = [one.rfilename for one in info.siblings]
            found = chosen(names, wanted, needed, address)
            # The commit, not the branch: what is listed is what is copied.
            api.snapshot_download(
                repository, revision=info.sha, allow_patterns=found, local_dir=folder
            )
            return str(info.sha)
    if revision:
        raise UsageError(
            f"revision={revision} of {address}, which is no repository",
            expected=f"a revision of {HUB}OWNER/NAME",
            fix="revision=''",
        )
    with _file_system(address) as (system, root):
        found = [name.removeprefix(root).lstrip("/") for name in system.find(root)]
        for name in chosen(found, wanted, needed, address):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            system.get_file(f"{root}/{name}", str(folder / name))
    return ""


def _check_address(address: str) -> None:
    """Refuse what looks like a URL and would be a folder."""
    scheme, colon, rest = address.partition(":")
    # One letter is a drive, and two colons chain file systems of fsspec.
    if colon and len(scheme) > 1 and scheme.isalnum() and not rest.startswith(("//", ":")):
        raise UsageError(
            f"address={address}, which is neither a URL nor a path",
            expected="hf://OWNER/NAME, a URL of fsspec such as s3://BUCKET/FOLDER, or a path",
            fix=f"address={scheme}://{rest.lstrip('/')}    or, as a path, address=./{address}",
        )


def chosen(
    names: Sequence[str], wanted: Callable[[str], bool], needed: str, address: str
) -> list[str]:
    """Return the wanted files; none of their names leads out of a folder."""
    kept = [name for name in names if wanted(name) and is_file_name(name)]
    if needed not in kept:
        raise UsageError(
            f"there is no bundle at {address}",
            expected="an address that `prefixbank push` wrote to",
            fix="prefixbank push path=FOLDER address=...    or another address",
        )
    return kept


@contextmanager
def _hub(address: str) -> Iterator[tuple[Any, str]]:
    """Yield the hub's API and the name of a repository; name what goes wrong there."""
    if hub_is_offline():
        raise HubError(
            f"{address} with HF_HUB_OFFLINE=1, which keeps the hub off",
            expected="a network, or an address that is a folder",
            fix="HF_HUB_OFFLINE=0 prefixbank ...    or address=FOLDER",
        )
    from huggingface_hub import HfApi

    # Which library it comes from depends on the version of huggingface_hub.
    from huggingface_hub.errors import HFValidationError, HTTPError  # type: ignore[attr-defined]

    try:
        yield HfApi(), address.removeprefix(HUB)
    except HFValidationError as error:
        raise UsageError(
            f"'{address}' is no repository", expected=f"{HUB}OWNER/NAME", fix=f"{HUB}you/support"
        ) from error
    except (HTTPError, OSError) as error:
        raise _unreachable(
            address, error, "a repository that exists and that you may use: hf auth login"
        ) from error


@contextmanager
def _file_system(address: str) -> Iterator[tuple[Any, str]]:
    """Yield a file system of fsspec and the path in it; name what goes wrong there."""
    from fsspec.core import url_to_fs

    try:
        place = address if "://" in address else str(Path(address).expanduser().absolute())
        system, root = url_to_fs(place)
    except (ImportError, ValueError) as error:
        raise UsageError(
            f"address={address}: {error}",
            expected=f"{HUB}OWNER/NAME, a path, or a URL that fsspec has a package for",
            fix="install the package that the message names    or another address",
        ) from error
    try:
        yield system, root.rstrip("/")
    except OSError as error:
        raise _unreachable(address, error, "a place that exists and that you may use") from error


def _unreachable(address: str, error: Exception, expected: str) -> HubError:
    reason = str(error).strip().split("\n")[0] or type(error).__name__
    return HubError(
        f"cannot use {address}: {reason}", expected=expected, fix="another address, or try again"
    )
