"""What the chronicle refuses."""

from service.kit.errors import Conflict


class ChangeCursorUnknown(Conflict):
    """The change to read on from is not in this database."""

    code = "change-cursor-unknown"
