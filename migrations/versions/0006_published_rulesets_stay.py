"""Published rule sets never change; one comes into force at a time; a discarded draft keeps its number."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

UP = """
ALTER TABLE tier_rulesets
    DROP CONSTRAINT ck_tier_rulesets_known_state,
    ADD CONSTRAINT ck_tier_rulesets_known_state
        CHECK (state IN ('draft', 'scheduled', 'active', 'retired', 'discarded')),
    ADD CONSTRAINT uq_tier_rulesets_effective_from UNIQUE (effective_from);

CREATE FUNCTION keep_published_ruleset() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    moving CONSTANT TEXT[] := ARRAY['state', 'retired_at'];
    stamps CONSTANT TEXT[] := ARRAY['state', 'effective_from', 'published_at', 'published_by', 'reason',
                                    'simulation_id'];
BEGIN
    IF OLD.effective_from IS NULL THEN
        RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        -- Time passes: scheduled, then active, then retired.
        IF to_jsonb(NEW) - moving = to_jsonb(OLD) - moving
            AND (OLD.state, NEW.state) IN (('scheduled', 'scheduled'), ('scheduled', 'active'),
                ('scheduled', 'retired'), ('active', 'active'), ('active', 'retired'), ('retired', 'retired'))
        THEN
            RETURN NEW;
        END IF;
        -- What never came into force can be a draft again, with nothing left of its publishing.
        IF OLD.state = 'scheduled' AND NEW.state = 'draft' AND NEW.effective_from IS NULL
            AND to_jsonb(NEW) - stamps = to_jsonb(OLD) - stamps
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'rule set % is published and never changes: % refused', OLD.version, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER published_stay BEFORE UPDATE OR DELETE ON tier_rulesets
    FOR EACH ROW EXECUTE FUNCTION keep_published_ruleset();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON tier_rulesets
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

DOWN = """
DROP TRIGGER never_emptied ON tier_rulesets;
DROP TRIGGER published_stay ON tier_rulesets;
DROP FUNCTION keep_published_ruleset();
DELETE FROM tier_simulations WHERE version IN (SELECT version FROM tier_rulesets WHERE state = 'discarded');
DELETE FROM tier_rulesets WHERE state = 'discarded';
ALTER TABLE tier_rulesets
    DROP CONSTRAINT uq_tier_rulesets_effective_from,
    DROP CONSTRAINT ck_tier_rulesets_known_state,
    ADD CONSTRAINT ck_tier_rulesets_known_state CHECK (state IN ('draft', 'scheduled', 'active', 'retired'));
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
