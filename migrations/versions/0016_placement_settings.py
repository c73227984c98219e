"""Settings of each placement: what it ranks, how varied, how many of one category; every version stays."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

UP = """
CREATE TABLE placement_settings (
    placement TEXT NOT NULL,
    version INTEGER NOT NULL,
    mode TEXT NOT NULL,
    diversity_bp INTEGER NOT NULL,
    category_cap INTEGER,
    item_limit INTEGER NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    created_by TEXT NOT NULL,
    CONSTRAINT pk_placement_settings PRIMARY KEY (placement, version),
    CONSTRAINT ck_placement_settings_known_mode CHECK (mode IN ('mixed', 'buy_again', 'discover')),
    CONSTRAINT ck_placement_settings_diversity_in_range CHECK (diversity_bp BETWEEN 0 AND 10000),
    CONSTRAINT ck_placement_settings_cap_in_range CHECK (category_cap BETWEEN 1 AND 100),
    CONSTRAINT ck_placement_settings_limit_in_range CHECK (item_limit BETWEEN 1 AND 100)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON placement_settings
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

DOWN = """
DROP TABLE placement_settings;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
