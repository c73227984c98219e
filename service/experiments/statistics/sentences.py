"""What a verdict says: what was found, how sure, what it is worth a year, and what it does not say. Pure."""

from __future__ import annotations

from typing import Protocol

from service.experiments.statistics import sentences_en, sentences_zh
from service.experiments.statistics.noninferiority import BREACHED
from service.experiments.statistics.plan import Plan
from service.experiments.statistics.report import Estimate, GuardrailReport, Results, Verdict
from service.experiments.statistics.wording import EN, ZH, Counts, list_guardrails


class Language(Protocol):
    """What a module of sentences can say; each locale has one."""

    def tell_invalid(self) -> list[str]: ...

    def tell_immature(self, plan: Plan, counts: Counts) -> list[str]: ...

    def tell_insufficient(self, plan: Plan, counts: Counts, results: Results | None) -> list[str]: ...

    def tell_breach(self, guardrail: GuardrailReport, plan: Plan) -> str: ...

    def tell_found(self, results: Results, decided: Estimate, plan: Plan) -> str: ...

    def tell_sure(self, decided: Estimate, plan: Plan) -> str: ...

    def tell_smallest(self, results: Results, plan: Plan) -> str: ...

    def tell_worth(self, results: Results, plan: Plan) -> list[str]: ...

    def tell_unshown(self, results: Results) -> list[str]: ...

    def tell_limits(self, plan: Plan) -> str: ...


def tell(
    verdict: Verdict, plan: Plan, counts: Counts, results: Results | None, decided: Estimate | None
) -> dict[str, str]:
    """Return the verdict's sentences per locale; with `invalid_srm` they hold no number."""
    return {
        EN: " ".join(_tell(sentences_en, verdict, plan, counts, results, decided)),
        ZH: "".join(_tell(sentences_zh, verdict, plan, counts, results, decided)),
    }


def _tell(
    language: Language,
    verdict: Verdict,
    plan: Plan,
    counts: Counts,
    results: Results | None,
    decided: Estimate | None,
) -> list[str]:
    if verdict is Verdict.INVALID_SRM:
        return language.tell_invalid()
    if verdict is Verdict.IMMATURE:
        return language.tell_immature(plan, counts)
    if verdict is Verdict.INSUFFICIENT or results is None or decided is None:
        return language.tell_insufficient(plan, counts, results)
    return [
        *(language.tell_breach(one, plan) for one in list_guardrails(results, BREACHED)),
        language.tell_found(results, decided, plan),
        language.tell_sure(decided, plan),
        *([language.tell_smallest(results, plan)] if verdict is Verdict.INCONCLUSIVE else []),
        *language.tell_worth(results, plan),
        *language.tell_unshown(results),
        language.tell_limits(plan),
    ]
