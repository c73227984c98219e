"""Experiments that staff define, freeze and close; anonymous visitors, merges, frozen results."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

UP = """
CREATE FUNCTION refuse_weights() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT sum((arm ->> 'weight_bp')::integer) FROM jsonb_array_elements(NEW.arms) AS arm) IS DISTINCT FROM 10000 THEN
        RAISE EXCEPTION 'the weights of % do not sum to 10000', NEW.experiment USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER weights_sum BEFORE INSERT OR UPDATE OF arms ON experiments
    FOR EACH ROW EXECUTE FUNCTION refuse_weights();

ALTER TABLE experiments
    ADD COLUMN title TEXT,
    ADD COLUMN surface TEXT DEFAULT 'recommendations' NOT NULL,
    ADD COLUMN nested BOOLEAN DEFAULT false NOT NULL,
    ADD COLUMN eligibility JSONB DEFAULT '{}'::jsonb NOT NULL,
    ADD COLUMN frozen_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN created_by TEXT,
    ADD COLUMN guardrails JSONB DEFAULT '[]'::jsonb NOT NULL,
    ADD COLUMN planned_members INTEGER,
    ADD COLUMN outlook JSONB,
    DROP CONSTRAINT ck_experiments_known_status,
    ADD CONSTRAINT ck_experiments_known_status CHECK (status IN ('draft', 'running', 'replaced', 'analysis', 'stopped')),
    ADD CONSTRAINT ck_experiments_known_surface CHECK (surface IN ('recommendations', 'storefront', 'campaigns')),
    ADD CONSTRAINT ck_experiments_known_anchor CHECK (anchor IN ('assigned_at', 'first_exposure')),
    ADD CONSTRAINT ck_experiments_sound_days CHECK (window_days BETWEEN 1 AND 365 AND refund_grace_days BETWEEN 0 AND 365),
    ADD CONSTRAINT ck_experiments_started_unless_draft CHECK ((status = 'draft') = (started_at IS NULL));
CREATE UNIQUE INDEX ux_experiments_one_running_version ON experiments (experiment) WHERE status = 'running';
CREATE UNIQUE INDEX ux_experiments_one_draft_version ON experiments (experiment) WHERE status = 'draft';

ALTER TABLE assignments
    ADD COLUMN merges SMALLINT DEFAULT 0 NOT NULL,
    ADD COLUMN merged_into BIGINT,
    ADD CONSTRAINT ck_assignments_known_reason CHECK (reason IN ('split', 'override'));
CREATE INDEX ix_assignments_member_key ON assignments (member_key);

CREATE FUNCTION refuse_redrawing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an arm is drawn once: % in % refused', OLD.member_key, OLD.experiment
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER drawn_once BEFORE UPDATE ON assignments FOR EACH ROW
    WHEN (NEW.arm IS DISTINCT FROM OLD.arm AND NEW.reason = 'split' AND NEW.merges = OLD.merges)
    EXECUTE FUNCTION refuse_redrawing();

CREATE TABLE assignment_merges (
    experiment TEXT NOT NULL,
    into_key BIGINT NOT NULL,
    from_key BIGINT NOT NULL,
    merged_at TIMESTAMP WITH TIME ZONE NOT NULL,
    before JSONB,
    CONSTRAINT pk_assignment_merges PRIMARY KEY (experiment, from_key)
);

CREATE TABLE anonymous_assignments (
    experiment TEXT NOT NULL,
    anonymous_id TEXT COLLATE "C" NOT NULL,
    experiment_key INTEGER NOT NULL,
    arm TEXT NOT NULL,
    bucket SMALLINT NOT NULL,
    assigned_at TIMESTAMP WITH TIME ZONE NOT NULL,
    member_key BIGINT,
    stitched_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_anonymous_assignments PRIMARY KEY (experiment, anonymous_id),
    CONSTRAINT fk_anonymous_assignments_experiment_key_experiments FOREIGN KEY (experiment_key) REFERENCES experiments (experiment_key),
    CONSTRAINT ck_anonymous_assignments_bucket_range CHECK (bucket BETWEEN 0 AND 9999),
    CONSTRAINT ck_anonymous_assignments_stitched_once CHECK ((member_key IS NULL) = (stitched_at IS NULL))
);
CREATE INDEX ix_anonymous_assignments_anonymous_id ON anonymous_assignments (anonymous_id);

ALTER TABLE exposures
    ADD COLUMN nested INTEGER[],
    ADD COLUMN anonymous_id TEXT COLLATE "C";

CREATE INDEX ix_exposures_anonymous_id ON exposures (anonymous_id) WHERE anonymous_id IS NOT NULL;

CREATE TABLE experiment_results (
    experiment TEXT NOT NULL,
    version INTEGER NOT NULL,
    anchor TEXT NOT NULL,
    window_days INTEGER NOT NULL,
    watermark TIMESTAMP WITH TIME ZONE NOT NULL,
    computed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    is_final BOOLEAN NOT NULL,
    sums JSONB NOT NULL,
    CONSTRAINT pk_experiment_results PRIMARY KEY (experiment, version, anchor, window_days),
    CONSTRAINT fk_experiment_results_experiment_version_experiments FOREIGN KEY (experiment, version) REFERENCES experiments (experiment, version)
);
CREATE TRIGGER frozen BEFORE UPDATE OR DELETE ON experiment_results
    FOR EACH ROW WHEN (OLD.is_final) EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE TRUNCATE ON experiment_results
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

DOWN = """
DROP TABLE experiment_results;
DROP INDEX ix_exposures_anonymous_id;
ALTER TABLE exposures DROP COLUMN anonymous_id, DROP COLUMN nested;
DROP TABLE anonymous_assignments;
DROP TABLE assignment_merges;
DROP TRIGGER drawn_once ON assignments;
DROP FUNCTION refuse_redrawing();
DROP INDEX ix_assignments_member_key;
ALTER TABLE assignments
    DROP CONSTRAINT ck_assignments_known_reason,
    DROP COLUMN merged_into,
    DROP COLUMN merges;
DROP INDEX ux_experiments_one_draft_version;
DROP INDEX ux_experiments_one_running_version;
UPDATE experiments SET status = 'stopped' WHERE status IN ('replaced', 'analysis');
ALTER TABLE experiments
    DROP CONSTRAINT ck_experiments_started_unless_draft,
    DROP CONSTRAINT ck_experiments_sound_days,
    DROP CONSTRAINT ck_experiments_known_anchor,
    DROP CONSTRAINT ck_experiments_known_surface,
    DROP CONSTRAINT ck_experiments_known_status,
    ADD CONSTRAINT ck_experiments_known_status CHECK (status IN ('draft', 'running', 'stopped')),
    DROP COLUMN outlook,
    DROP COLUMN planned_members,
    DROP COLUMN guardrails,
    DROP COLUMN created_by,
    DROP COLUMN frozen_at,
    DROP COLUMN eligibility,
    DROP COLUMN nested,
    DROP COLUMN surface,
    DROP COLUMN title;
DROP TRIGGER weights_sum ON experiments;
DROP FUNCTION refuse_weights();
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
