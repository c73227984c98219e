"""Where the artefacts of models lie: on this disk, and for several machines in an object store besides.

With a store the folder on disk holds copies: what is trained here is put there, what is missing here is
fetched from there.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from recommender.artifact import MANIFEST_NAME
from recommender.remote import drop_artifact, fetch_artifact, list_artifacts, put_artifact
from service.kit.settings import Settings

log = logging.getLogger(__name__)

_LEFT_BEHIND_SECONDS = 86_400
_COPIES = 5


@dataclass(frozen=True, slots=True)
class SharedFolder:
    """A folder of this machine, and the URL whose artefacts it holds copies of."""

    path: Path
    url: str

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def url_of(self, name: str) -> str:
        """Return the URL of one artefact."""
        return f"{self.url.rstrip('/')}/{name}"


ModelsFolder = Path | SharedFolder


def models_folder(settings: Settings) -> ModelsFolder:
    """Return where this installation keeps its models."""
    folder = settings.var / "models"
    return folder if settings.models_url is None else SharedFolder(folder, settings.models_url)


def share_artefact(folder: ModelsFolder, location: str) -> None:
    """Put an artefact where other machines find it, if there are any.

    Raises:
        ArtifactError: the store cannot be reached, or holds another of this name.
    """
    if isinstance(folder, SharedFolder):
        put_artifact(folder / location, folder.url_of(location))


def is_at_hand(folder: ModelsFolder, location: str) -> bool:
    """Tell whether an artefact need not be fetched first."""
    return not isinstance(folder, SharedFolder) or (folder / location).exists()


def bring_artefact(folder: ModelsFolder, location: str) -> Path:
    """Return an artefact's directory, fetched where this machine does not hold it.

    Raises:
        ArtifactError: it is nowhere, or the store cannot be reached.
    """
    if isinstance(folder, SharedFolder) and not is_at_hand(folder, location):
        fetch_artifact(folder.url_of(location), folder / location)
        log.info("model fetched", extra={"model": location})
        _forget_copies(folder.path)
    return folder / location


def _forget_copies(folder: Path) -> None:
    """Delete what was fetched long ago: it can be fetched again, and who has it open keeps it."""
    copies = sorted(folder.glob(f"[!.]*/{MANIFEST_NAME}"), key=lambda one: -one.stat().st_mtime)
    for copy in copies[_COPIES:]:
        shutil.rmtree(copy.parent, ignore_errors=True)


def drop_artefacts(
    folder: ModelsFolder, *, spared: Collection[str], known: Collection[str], now: datetime
) -> list[str]:
    """Delete the artefacts of all `known` versions that are not `spared`, everywhere, and return them.

    What a training that was killed left behind goes a day later.
    """
    local = folder.path if isinstance(folder, SharedFolder) else folder
    dropped = {one for one in known if one not in spared and _is_below(local, one)}
    for one in dropped:
        shutil.rmtree(local / one)
    for left in local.glob(".*.partial"):
        if _is_old(left, now):
            shutil.rmtree(left, ignore_errors=True)
    if isinstance(folder, SharedFolder):
        there = set(list_artifacts(folder.url)) & set(known) - set(spared)
        for one in there:
            drop_artifact(folder.url_of(one))
        dropped |= there
    return sorted(dropped)


def _is_below(folder: Path, location: str) -> bool:
    place = folder / location
    return place.is_dir() and place.resolve().parent == folder.resolve()


def _is_old(left: Path, now: datetime) -> bool:
    try:
        return left.is_dir() and now.timestamp() - left.stat().st_mtime > _LEFT_BEHIND_SECONDS
    except FileNotFoundError:
        return False
