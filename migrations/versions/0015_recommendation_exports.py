"""Recommendations for mailings: what was asked for, how far it is, and its lines in parts."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

UP = """
CREATE TABLE recommendation_exports (
    export_id TEXT NOT NULL,
    state TEXT NOT NULL,
    placement TEXT NOT NULL,
    channel TEXT NOT NULL,
    item_limit INTEGER NOT NULL,
    segment TEXT,
    locale TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    requested_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    through_member_key BIGINT DEFAULT 0 NOT NULL,
    members BIGINT DEFAULT 0 NOT NULL,
    without_consent BIGINT DEFAULT 0 NOT NULL,
    failure TEXT,
    CONSTRAINT pk_recommendation_exports PRIMARY KEY (export_id),
    CONSTRAINT ck_recommendation_exports_known_state CHECK (state IN ('queued', 'running', 'done', 'cancelled', 'failed')),
    CONSTRAINT ck_recommendation_exports_limit_in_range CHECK (item_limit BETWEEN 1 AND 100),
    CONSTRAINT ck_recommendation_exports_ends_once CHECK ((state IN ('done', 'cancelled', 'failed')) = (finished_at IS NOT NULL))
);
CREATE INDEX ix_recommendation_exports_requested_at ON recommendation_exports (requested_at);

CREATE TABLE recommendation_export_parts (
    export_id TEXT NOT NULL,
    part_no INTEGER NOT NULL,
    content BYTEA NOT NULL,
    CONSTRAINT pk_recommendation_export_parts PRIMARY KEY (export_id, part_no),
    CONSTRAINT fk_recommendation_export_parts_export_id_recommendation_exports FOREIGN KEY (export_id) REFERENCES recommendation_exports (export_id) ON DELETE CASCADE
);
"""

DOWN = """
DROP TABLE recommendation_export_parts;
DROP TABLE recommendation_exports;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
