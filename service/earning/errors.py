"""What the earning room refuses."""

from __future__ import annotations

from service.kit.errors import Conflict, Invalid, NotFound


class UnknownEarningRules(NotFound):
    """There are no earning rules of this version."""

    code = "unknown-earning-rules"


class EarningRulesNotReadable(Invalid):
    """These earning rules cannot be read as such."""

    code = "earning-rules-not-readable"


class EarningRulesNotADraft(Conflict):
    """Only a draft of earning rules can be changed."""

    code = "earning-rules-not-a-draft"


class EarningRulesNotScheduled(Conflict):
    """Only earning rules that wait for their day can be withdrawn."""

    code = "earning-rules-not-scheduled"


class EarningRulesHaveErrors(Invalid):
    """These earning rules have errors that stop them from being published."""

    code = "earning-rules-have-errors"
