"""What the experiments refuse."""

from __future__ import annotations

from service.kit.errors import Conflict, Invalid, NotFound


class ExposureNotFound(NotFound):
    """Nothing was sent under this id."""

    code = "exposure-not-found"


class UnknownExperiment(NotFound):
    """There is no such experiment."""

    code = "unknown-experiment"


class ExperimentExists(Conflict):
    """There is an experiment or a draft of this key already."""

    code = "experiment-exists"


class ExperimentRunning(Conflict):
    """An experiment that runs is never changed."""

    code = "experiment-running"


class ExperimentNotADraft(Conflict):
    """This version of the experiment is no draft."""

    code = "experiment-not-a-draft"


class ExperimentNotRunning(Conflict):
    """The experiment does not run."""

    code = "experiment-not-running"


class ExperimentNotStarted(Conflict):
    """The experiment has not been started, so there is nothing to read."""

    code = "experiment-not-started"


class ArmsUnsound(Invalid):
    """The arms do not share all members between them."""

    code = "arms-unsound"


class UnknownArm(Invalid):
    """The experiment has no such arm."""

    code = "unknown-arm"


class NotRandomised(Invalid):
    """A comparison that chance did not make is no uplift."""

    code = "not-randomised"


class SurfaceNotServed(Invalid):
    """This experiment is not drawn here."""

    code = "surface-not-served"
