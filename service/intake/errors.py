"""What the intake refuses."""

from service.kit.errors import Conflict, Invalid, NotFound


class ImportRunning(Conflict):
    """Another import is running on this database."""

    code = "import-running"


class SourceMismatch(Invalid):
    """The file is in another currency or time zone than the programme."""

    code = "source-mismatch"


class UnknownImport(NotFound):
    """No import has this id."""

    code = "import-not-found"


class ImportEnded(Conflict):
    """The import has ended; there is nothing left to cancel."""

    code = "import-ended"


class ImportCancelled(Exception):
    """Somebody called this import off."""
