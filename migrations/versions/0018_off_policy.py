"""The explored place of a placement's lists, and what another ranker is estimated to earn from its logs."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

UP = """
ALTER TABLE placement_settings
    ADD COLUMN exploration_candidates INTEGER,
    ADD COLUMN exploration_share_bp INTEGER,
    ADD CONSTRAINT ck_placement_settings_exploration_in_range CHECK (exploration_candidates BETWEEN 2 AND 50 AND exploration_share_bp BETWEEN 1 AND 10000),
    ADD CONSTRAINT ck_placement_settings_exploration_whole CHECK ((exploration_candidates IS NULL) = (exploration_share_bp IS NULL));

CREATE TABLE off_policy_evaluations (
    evaluation_id TEXT NOT NULL,
    version TEXT NOT NULL,
    question JSONB NOT NULL,
    state TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    requested_at TIMESTAMP WITH TIME ZONE NOT NULL,
    computed_at TIMESTAMP WITH TIME ZONE,
    result JSONB,
    failure TEXT,
    CONSTRAINT pk_off_policy_evaluations PRIMARY KEY (evaluation_id),
    CONSTRAINT fk_off_policy_evaluations_version_recommender_models FOREIGN KEY (version) REFERENCES recommender_models (version),
    CONSTRAINT ck_off_policy_evaluations_known_state CHECK (state IN ('queued', 'done', 'failed')),
    CONSTRAINT ck_off_policy_evaluations_ends_once CHECK ((state = 'queued') = (computed_at IS NULL)),
    CONSTRAINT ck_off_policy_evaluations_answered_when_done CHECK ((state = 'done') = (result IS NOT NULL)),
    CONSTRAINT ck_off_policy_evaluations_told_when_failed CHECK ((state = 'failed') = (failure IS NOT NULL))
);
"""

DOWN = """
DROP TABLE off_policy_evaluations;
ALTER TABLE placement_settings
    DROP COLUMN exploration_candidates,
    DROP COLUMN exploration_share_bp;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
