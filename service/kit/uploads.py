"""Large bodies: on disk as they come, before a transaction begins, so that a slow caller holds nothing."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from flask import request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from service.kit import errors

_PART_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Upload:
    """A body on disk, read from its start; `sha256` is 32 bytes."""

    media_type: str
    file: BinaryIO
    size_bytes: int
    sha256: bytes


@contextmanager
def receive_upload(*, media_types: Sequence[str], max_bytes: int, folder: Path) -> Iterator[Upload]:
    """Take the request's body; the file is gone when the block ends.

    Raises:
        NotJson: another media type, or an encoding. Malformed: empty, or cut off. TooLarge: too long.
    """
    if request.mimetype not in media_types:
        raise errors.NotJson(f"send Content-Type: {' or '.join(media_types)}")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise errors.NotJson("send the body as it is, without Content-Encoding")
    if request.content_length is not None and request.content_length > max_bytes:
        raise errors.TooLarge(f"at most {max_bytes} bytes")
    request.max_content_length = None
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        digest, size = hashlib.sha256(), 0
        for part in _parts():
            size += len(part)
            if size > max_bytes:
                raise errors.TooLarge(f"at most {max_bytes} bytes")
            digest.update(part)
            file.write(part)
        if size == 0:
            raise errors.Malformed("the body is empty")
        file.seek(0)
        yield Upload(request.mimetype, file, size, digest.digest())


def _parts() -> Iterator[bytes]:
    try:
        while part := request.stream.read(_PART_BYTES):
            yield part
    except ClientDisconnected as error:
        raise errors.Malformed("the body was cut off") from error
    except RequestEntityTooLarge as error:
        raise errors.TooLarge from error
