"""What the tiers room refuses."""

from __future__ import annotations

from service.kit.errors import Conflict, Invalid, NotFound, Unavailable


class NoActiveRuleset(Unavailable):
    """No tier rule set is in force."""

    code = "no-active-ruleset"


class NoMembership(NotFound):
    """This member had no membership at that time."""

    code = "no-membership"


class AsOfInFuture(Invalid):
    """A standing can be told of today and of the past."""

    code = "as-of-in-future"


class UnknownReport(NotFound):
    """No tier report has this id."""

    code = "unknown-tier-report"


class ReportNotReady(Conflict):
    """This tier report has no answer to make a table of."""

    code = "tier-report-not-ready"


class MonthsNotOver(Invalid):
    """The months to look at are not over yet."""

    code = "months-not-over"


class UnknownRuleset(NotFound):
    """There is no rule set of this version."""

    code = "unknown-ruleset"


class NoForecast(NotFound):
    """No forecast that looks so far ahead has been made yet."""

    code = "no-forecast"

    def __init__(self) -> None:
        super().__init__("the worker makes one every night; POST /v1/tier-forecast asks for one now")


class RulesetNotReadable(Invalid):
    """This rule set cannot be read as one."""

    code = "ruleset-not-readable"


class UnknownSimulation(NotFound):
    """There is no simulation of this id."""

    code = "unknown-simulation"


class SimulationIsOver(Conflict):
    """This simulation is over."""

    code = "simulation-is-over"


class RulesetNotADraft(Conflict):
    """Only a draft can be changed."""

    code = "ruleset-not-a-draft"


class RulesetNotScheduled(Conflict):
    """Only a rule set that waits for its day can be withdrawn."""

    code = "ruleset-not-scheduled"


class RulesetHasErrors(Invalid):
    """This rule set has errors that stop it from being published."""

    code = "ruleset-has-errors"


class SimulationNeeded(Invalid):
    """A rule set is published on a simulation of it."""

    code = "simulation-needed"


class SimulationNotDone(Conflict):
    """This simulation has no result."""

    code = "simulation-not-done"


class SimulationStale(Conflict):
    """This simulation no longer says what publishing would do."""

    code = "simulation-stale"


class TooManyDemotions(Invalid):
    """Publishing would demote too many members without a word of confirmation."""

    code = "too-many-demotions"


class UnknownTier(Invalid):
    """The rule set in force has no such tier."""

    code = "unknown-tier"


class OverrideInPast(Invalid):
    """An override ends on a day to come."""

    code = "override-in-past"


class NoOverride(NotFound):
    """No override holds this member at a tier."""

    code = "no-override"
