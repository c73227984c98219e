"""What the intake refuses."""

from service.kit.errors import Conflict, Invalid


class ImportRunning(Conflict):
    """Another import is running on this database."""

    code = "import-running"


class SourceMismatch(Invalid):
    """The file is in another currency or time zone than the programme."""

    code = "source-mismatch"
