"""Count movement from an index alone, and find members at risk and members who left."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

UP = """
DROP INDEX ix_tier_changes_spans;
CREATE INDEX ix_tier_changes_spans ON tier_changes (member_key, effective_at, change_key)
    INCLUDE (from_tier, to_tier, cause) WHERE superseded_at IS NULL;
DROP INDEX ix_tier_changes_member_key_recorded_at;
CREATE INDEX ix_tier_changes_member_key_recorded_at ON tier_changes (member_key, recorded_at)
    INCLUDE (superseded_at, effective_at, change_key, to_tier, cause);
CREATE INDEX ix_tier_states_unqualified_since_member_key ON tier_states (unqualified_since, member_key)
    WHERE unqualified_since IS NOT NULL;
CREATE INDEX ix_members_erased_at_member_key ON members (erased_at, member_key) WHERE erased_at IS NOT NULL;
"""

DOWN = """
DROP INDEX ix_members_erased_at_member_key;
DROP INDEX ix_tier_states_unqualified_since_member_key;
DROP INDEX ix_tier_changes_member_key_recorded_at;
CREATE INDEX ix_tier_changes_member_key_recorded_at ON tier_changes (member_key, recorded_at);
DROP INDEX ix_tier_changes_spans;
CREATE INDEX ix_tier_changes_spans ON tier_changes (member_key, effective_at) WHERE superseded_at IS NULL;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
