"""Points set aside for checkouts; accounts that were merged; expiries that moved, each behind an entry."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

UP = """
CREATE TABLE point_holds (
    hold_id UUID NOT NULL,
    member_key BIGINT NOT NULL,
    points BIGINT NOT NULL,
    order_id TEXT COLLATE "C",
    order_key BIGINT,
    captured BIGINT DEFAULT 0 NOT NULL,
    state TEXT DEFAULT 'open' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_point_holds PRIMARY KEY (hold_id),
    CONSTRAINT ck_point_holds_known_state CHECK (state IN ('open', 'captured', 'released', 'expired')),
    CONSTRAINT ck_point_holds_positive CHECK (points > 0 AND expires_at > created_at),
    CONSTRAINT ck_point_holds_captured_within_points CHECK (captured >= 0 AND captured <= points AND (captured > 0) = (state = 'captured')),
    CONSTRAINT ck_point_holds_ends_once CHECK ((state = 'open') = (ended_at IS NULL))
);
CREATE INDEX ix_point_holds_open ON point_holds (member_key) WHERE state = 'open';
CREATE INDEX ix_point_holds_due ON point_holds (expires_at) WHERE state = 'open';
CREATE INDEX ix_point_holds_order_key ON point_holds (order_key) WHERE order_key IS NOT NULL;
CREATE INDEX ix_point_holds_captured_for ON point_holds (member_key, order_id) WHERE state = 'captured';

CREATE TABLE point_hold_lots (
    hold_id UUID NOT NULL,
    lot_key BIGINT NOT NULL,
    points BIGINT NOT NULL,
    CONSTRAINT pk_point_hold_lots PRIMARY KEY (hold_id, lot_key),
    CONSTRAINT fk_point_hold_lots_hold_id_point_holds FOREIGN KEY (hold_id) REFERENCES point_holds (hold_id),
    CONSTRAINT ck_point_hold_lots_positive CHECK (points > 0)
);

CREATE TABLE lot_expiries (
    transaction_key BIGINT NOT NULL,
    lot_key BIGINT NOT NULL,
    expires_before TIMESTAMP WITH TIME ZONE,
    expires_after TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_lot_expiries PRIMARY KEY (transaction_key, lot_key)
);
CREATE INDEX ix_lot_expiries_lot_key ON lot_expiries (lot_key);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON lot_expiries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

ALTER TABLE lots
    ADD COLUMN held BIGINT DEFAULT 0 NOT NULL,
    ADD COLUMN rolls BOOLEAN DEFAULT false NOT NULL,
    ADD COLUMN announced_for TIMESTAMP WITH TIME ZONE,
    ADD CONSTRAINT ck_lots_held_within_remaining CHECK (held >= 0 AND held <= remaining);
CREATE INDEX ix_lots_unannounced ON lots (expires_at)
    WHERE remaining > 0 AND expires_at IS NOT NULL AND announced_for IS DISTINCT FROM expires_at;

ALTER TABLE balances ADD COLUMN merged_into BIGINT;

ALTER TABLE ledger_transactions
    ADD COLUMN hold_id UUID,
    DROP CONSTRAINT ck_ledger_transactions_known_kind,
    ADD CONSTRAINT ck_ledger_transactions_known_kind CHECK (kind IN ('earn', 'release', 'reverse', 'adjust', 'expire', 'correct', 'restore', 'hold', 'capture', 'unhold', 'merge', 'extend'));
CREATE INDEX ix_ledger_transactions_hold_id ON ledger_transactions (hold_id) WHERE hold_id IS NOT NULL;
CREATE UNIQUE INDEX ux_ledger_transactions_restored_once ON ledger_transactions (order_key, refund_key)
    NULLS NOT DISTINCT WHERE kind = 'restore' AND order_key IS NOT NULL;

ALTER TABLE postings
    DROP CONSTRAINT ck_postings_known_accounts,
    ADD CONSTRAINT ck_postings_known_accounts CHECK (from_account IN ('pending', 'available', 'held', 'debt', 'issued', 'redeemed', 'expired', 'reversed', 'merged') AND to_account IN ('pending', 'available', 'held', 'debt', 'issued', 'redeemed', 'expired', 'reversed', 'merged'));
"""

DOWN = """
ALTER TABLE postings
    DROP CONSTRAINT ck_postings_known_accounts,
    ADD CONSTRAINT ck_postings_known_accounts CHECK (from_account IN ('pending', 'available', 'held', 'debt', 'issued', 'redeemed', 'expired', 'reversed') AND to_account IN ('pending', 'available', 'held', 'debt', 'issued', 'redeemed', 'expired', 'reversed'));
DROP INDEX ux_ledger_transactions_restored_once;
DROP INDEX ix_ledger_transactions_hold_id;
ALTER TABLE ledger_transactions
    DROP COLUMN hold_id,
    DROP CONSTRAINT ck_ledger_transactions_known_kind,
    ADD CONSTRAINT ck_ledger_transactions_known_kind CHECK (kind IN ('earn', 'release', 'reverse', 'adjust', 'expire', 'correct', 'restore', 'hold', 'capture', 'unhold'));
ALTER TABLE balances DROP COLUMN merged_into;
DROP INDEX ix_lots_unannounced;
ALTER TABLE lots DROP COLUMN announced_for, DROP COLUMN rolls, DROP COLUMN held;
DROP TABLE lot_expiries;
DROP TABLE point_hold_lots;
DROP TABLE point_holds;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
