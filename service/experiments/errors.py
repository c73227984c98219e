"""What the experiments refuse."""

from __future__ import annotations

from service.kit.errors import NotFound


class ExposureNotFound(NotFound):
    """Nothing was sent under this id."""

    code = "exposure-not-found"
