"""Rewards that were shown in order, experiments that try such orders, and answers that a redemption names."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

UP = """
ALTER TABLE exposures
    ADD COLUMN reward_keys INTEGER[],
    ADD CONSTRAINT ck_exposures_items_or_rewards CHECK (reward_keys IS NULL OR cardinality(item_keys) = 0);

ALTER TABLE experiments
    DROP CONSTRAINT ck_experiments_known_surface,
    ADD CONSTRAINT ck_experiments_known_surface CHECK (surface IN ('recommendations', 'rewards', 'storefront', 'campaigns'));

ALTER TABLE redemptions
    ADD COLUMN recommendation_ids TEXT[],
    ADD COLUMN attribution_token TEXT;

CREATE OR REPLACE FUNCTION keep_redemption() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'a redemption is never deleted' USING ERRCODE = 'restrict_violation';
    END IF;
    IF (OLD.redemption_id, OLD.reward_key, OLD.shelf_no, OLD.points, OLD.transaction_key, OLD.terms, OLD.voucher_code, OLD.issued_at, OLD.recommendation_ids, OLD.attribution_token)
       IS DISTINCT FROM
       (NEW.redemption_id, NEW.reward_key, NEW.shelf_no, NEW.points, NEW.transaction_key, NEW.terms, NEW.voucher_code, NEW.issued_at, NEW.recommendation_ids, NEW.attribution_token) THEN
        RAISE EXCEPTION 'what a redemption was never changes' USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.state = 'cancelled' AND NEW.state <> 'cancelled' THEN
        RAISE EXCEPTION 'a cancelled redemption stays cancelled' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
"""

DOWN = """
CREATE OR REPLACE FUNCTION keep_redemption() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'a redemption is never deleted' USING ERRCODE = 'restrict_violation';
    END IF;
    IF (OLD.redemption_id, OLD.reward_key, OLD.shelf_no, OLD.points, OLD.transaction_key, OLD.terms, OLD.voucher_code, OLD.issued_at)
       IS DISTINCT FROM
       (NEW.redemption_id, NEW.reward_key, NEW.shelf_no, NEW.points, NEW.transaction_key, NEW.terms, NEW.voucher_code, NEW.issued_at) THEN
        RAISE EXCEPTION 'what a redemption was never changes' USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.state = 'cancelled' AND NEW.state <> 'cancelled' THEN
        RAISE EXCEPTION 'a cancelled redemption stays cancelled' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
ALTER TABLE redemptions DROP COLUMN attribution_token, DROP COLUMN recommendation_ids;
UPDATE experiments SET surface = 'recommendations' WHERE surface = 'rewards';
ALTER TABLE experiments
    DROP CONSTRAINT ck_experiments_known_surface,
    ADD CONSTRAINT ck_experiments_known_surface CHECK (surface IN ('recommendations', 'storefront', 'campaigns'));
ALTER TABLE exposures DROP CONSTRAINT ck_exposures_items_or_rewards, DROP COLUMN reward_keys;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
