"""Redemptions and awards of events change hands when members become one; points go back by whose lots they are."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

UP = """
ALTER TABLE redemptions ADD COLUMN origin_key BIGINT;
CREATE INDEX ix_redemptions_origin_key ON redemptions (origin_key) WHERE origin_key IS NOT NULL;

DROP INDEX ux_ledger_transactions_spent_once;
CREATE UNIQUE INDEX ux_ledger_transactions_spent_once ON ledger_transactions (spend_id) WHERE kind = 'redeem';
CREATE UNIQUE INDEX ux_ledger_transactions_unspent_once ON ledger_transactions (spend_id, member_key) WHERE kind = 'unredeem';

CREATE FUNCTION keep_event_award() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR to_jsonb(OLD) - 'member_key' <> to_jsonb(NEW) - 'member_key' THEN
        RAISE EXCEPTION 'what an event earned never changes' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
DROP TRIGGER append_only ON event_awards;
CREATE TRIGGER keep_event_award BEFORE UPDATE OR DELETE ON event_awards
    FOR EACH ROW EXECUTE FUNCTION keep_event_award();
CREATE TRIGGER append_only BEFORE TRUNCATE ON event_awards
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

DOWN = """
DROP TRIGGER append_only ON event_awards;
DROP TRIGGER keep_event_award ON event_awards;
DROP FUNCTION keep_event_award();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON event_awards
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

DROP INDEX ux_ledger_transactions_unspent_once;
DROP INDEX ux_ledger_transactions_spent_once;
CREATE UNIQUE INDEX ux_ledger_transactions_spent_once ON ledger_transactions (spend_id, kind) WHERE spend_id IS NOT NULL;

ALTER TABLE redemptions DROP COLUMN origin_key;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
