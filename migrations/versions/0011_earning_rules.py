"""Earning rules by version, points for events, and awards by terms of their own."""

from alembic import op

revision = "0011"
down_revision = "0009"
branch_labels = None
depends_on = None

UP = """
CREATE TABLE earning_rules (
    version INTEGER NOT NULL,
    state TEXT NOT NULL,
    title TEXT,
    definition JSONB NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    created_by TEXT,
    updated_at TIMESTAMP WITH TIME ZONE,
    published_at TIMESTAMP WITH TIME ZONE,
    published_by TEXT,
    reason TEXT,
    retired_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_earning_rules PRIMARY KEY (version),
    CONSTRAINT uq_earning_rules_effective_from UNIQUE (effective_from),
    CONSTRAINT ck_earning_rules_known_state CHECK (state IN ('draft', 'scheduled', 'active', 'retired', 'discarded')),
    CONSTRAINT ck_earning_rules_published_have_a_moment CHECK ((state IN ('draft', 'discarded')) = (effective_from IS NULL))
);

CREATE FUNCTION keep_published_earning_rules() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    moving CONSTANT TEXT[] := ARRAY['state', 'retired_at'];
    stamps CONSTANT TEXT[] := ARRAY['state', 'effective_from', 'published_at', 'published_by', 'reason'];
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
    RAISE EXCEPTION 'earning rules % are published and never change: % refused', OLD.version, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER published_stay BEFORE UPDATE OR DELETE ON earning_rules
    FOR EACH ROW EXECUTE FUNCTION keep_published_earning_rules();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON earning_rules
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE event_awards (
    event_key BIGINT NOT NULL,
    member_key BIGINT NOT NULL,
    type TEXT NOT NULL,
    day DATE NOT NULL,
    item_key BIGINT,
    points BIGINT NOT NULL,
    rules_version INTEGER NOT NULL,
    transaction_key BIGINT NOT NULL,
    CONSTRAINT pk_event_awards PRIMARY KEY (event_key),
    CONSTRAINT ck_event_awards_positive CHECK (points > 0)
);
CREATE INDEX ix_event_awards_member_key_type_day ON event_awards (member_key, type, day);
CREATE INDEX ix_event_awards_member_key_type_item_key ON event_awards (member_key, type, item_key)
    WHERE item_key IS NOT NULL;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON event_awards
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

ALTER TABLE ledger_transactions ADD COLUMN event_key BIGINT;
CREATE UNIQUE INDEX ux_ledger_transactions_event_once ON ledger_transactions (event_key)
    WHERE event_key IS NOT NULL;
"""

DOWN = """
DROP INDEX ux_ledger_transactions_event_once;
ALTER TABLE ledger_transactions DROP COLUMN event_key;
DROP TABLE event_awards;
DROP TABLE earning_rules;
DROP FUNCTION keep_published_earning_rules();
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
