"""What the recommendations refuse."""

from __future__ import annotations

from service.kit.errors import Conflict, Invalid, NotFound, Unavailable


class UnknownModel(NotFound):
    """There is no model of this version."""

    code = "unknown-model"


class ModelUnusable(Conflict):
    """The model's artefact cannot be served."""

    code = "model-unusable"


class NothingToLearn(Unavailable):
    """There are no purchases to learn from yet."""

    code = "nothing-to-learn"


class DecisionNotFound(NotFound):
    """No recommendation was given under this id."""

    code = "decision-not-found"


class AttributionRefused(Invalid):
    """The attribution token does not hold."""

    code = "attribution-refused"


class TokenForged(AttributionRefused):
    """The attribution token was not made here."""

    code = "attribution-token-forged"


class TokenForeign(AttributionRefused):
    """The attribution token was given to somebody else, or for another recommendation."""

    code = "attribution-token-foreign"


class TokenExpired(AttributionRefused):
    """The attribution token's window is over."""

    code = "attribution-token-expired"


class UnknownExport(NotFound):
    """There is no export of this id."""

    code = "unknown-export"


class UnknownPlacement(NotFound):
    """The placement has no settings of its own."""

    code = "unknown-placement"


class UnknownSegment(Invalid):
    """There is no such segment to export for."""

    code = "unknown-segment"


class ExportEnded(Conflict):
    """The export has ended and cannot be called off."""

    code = "export-ended"


class ExportNotReady(Conflict):
    """The export's lines cannot be fetched: it is not done, or they are gone."""

    code = "export-not-ready"


class UnknownEvaluation(NotFound):
    """There is no off-policy evaluation of this id for this model."""

    code = "unknown-evaluation"
