"""Routes of the experiments."""

from __future__ import annotations

from service.experiments import operations
from service.experiments.schemas import MemberAssignmentsSchema
from service.kit.clock import format_time
from service.kit.http import STAFF, Blueprint, Door
from service.members import operations as members
from service.members.errors import UnknownMember

blueprint = Blueprint("experiments", __name__, url_prefix="/v1", description="Hold-outs and experiments.")


@blueprint.door(
    "GET",
    "/members/<id:member_id>/assignments",
    roles=STAFF,
    answers={200: MemberAssignmentsSchema()},
    refusals=(UnknownMember,),
)
def list_assignments(door: Door, member_id: str) -> object:
    """List the experiments a member is in, without enrolling anybody."""
    member = members.get_member(door.conn, member_id=member_id)
    found = operations.list_assignments(door.conn, member_key=member.member_key)
    return {"data": [_show(assignment) for assignment in found], "next_cursor": None}


def _show(assignment: operations.Assignment) -> dict[str, object]:
    return {
        "experiment": assignment.experiment.experiment,
        "version": assignment.experiment.version,
        "arm": assignment.arm,
        "is_holdout": assignment.is_holdout,
        "reason": assignment.reason,
        "assigned_at": format_time(assignment.assigned_at),
        "tier_at_assignment": assignment.tier_at_assignment,
    }
