from django.db import migrations

# A change of a balance that keeps its kind adds one row; one that comes, goes or changes its kind adds what it was with
# a minus, and what it is. Every 64th row folds its customer's rows, which so stay few whoever reads them, at the cost
# of some microseconds a row.
TALLY = """
CREATE OR REPLACE FUNCTION billing_tally_came() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO billing_balancetally (customer_id, feature_id, level, item_id, is_rollover, expires_at, unlimited,
    allows_overage, max_overage, count, prepaid, granted, usage, held, expired, remaining)
  SELECT customer_id, feature_id, level, CASE WHEN level = 'slice' THEN item_id END, rolled_over_from_id IS NOT NULL,
    expires_at, unlimited, allows_overage, max_overage, count(*), sum(prepaid), sum(granted), sum(usage), sum(held),
    sum(expired), sum(greatest(granted - usage - held - expired, 0))
  FROM came WHERE level <> 'pool' AND ended_at IS NULL
  GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9;
  RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION billing_tally(b billing_balance, times integer) RETURNS void LANGUAGE sql AS $$
  INSERT INTO billing_balancetally (customer_id, feature_id, level, item_id, is_rollover, expires_at, unlimited,
    allows_overage, max_overage, count, prepaid, granted, usage, held, expired, remaining)
  SELECT b.customer_id, b.feature_id, b.level, CASE WHEN b.level = 'slice' THEN b.item_id END,
    b.rolled_over_from_id IS NOT NULL, b.expires_at, b.unlimited, b.allows_overage, b.max_overage,
    times, times * b.prepaid, times * b.granted, times * b.usage, times * b.held, times * b.expired,
    times * greatest(b.granted - b.usage - b.held - b.expired, 0)
  WHERE b.level <> 'pool' AND b.ended_at IS NULL
$$;

CREATE OR REPLACE FUNCTION billing_tally_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM billing_tally(OLD, -1);
  RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION billing_tally_moved() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  stays constant boolean := OLD.level <> 'pool' AND OLD.ended_at IS NULL
    AND (OLD.customer_id, OLD.feature_id, OLD.level, OLD.item_id, OLD.rolled_over_from_id, OLD.expires_at,
      OLD.unlimited, OLD.allows_overage, OLD.max_overage, OLD.ended_at)
    IS NOT DISTINCT FROM (NEW.customer_id, NEW.feature_id, NEW.level, NEW.item_id, NEW.rolled_over_from_id,
      NEW.expires_at, NEW.unlimited, NEW.allows_overage, NEW.max_overage, NEW.ended_at);
  added bigint;
BEGIN
  IF stays THEN
    IF (OLD.prepaid, OLD.granted, OLD.usage, OLD.held, OLD.expired)
      IS NOT DISTINCT FROM (NEW.prepaid, NEW.granted, NEW.usage, NEW.held, NEW.expired) THEN
      RETURN NULL;
    END IF;
    INSERT INTO billing_balancetally (customer_id, feature_id, level, item_id, is_rollover, expires_at, unlimited,
      allows_overage, max_overage, count, prepaid, granted, usage, held, expired, remaining)
    VALUES (NEW.customer_id, NEW.feature_id, NEW.level, CASE WHEN NEW.level = 'slice' THEN NEW.item_id END,
      NEW.rolled_over_from_id IS NOT NULL, NEW.expires_at, NEW.unlimited, NEW.allows_overage, NEW.max_overage,
      0, NEW.prepaid - OLD.prepaid, NEW.granted - OLD.granted, NEW.usage - OLD.usage, NEW.held - OLD.held,
      NEW.expired - OLD.expired, greatest(NEW.granted - NEW.usage - NEW.held - NEW.expired, 0)
        - greatest(OLD.granted - OLD.usage - OLD.held - OLD.expired, 0))
    RETURNING id INTO added;
    IF added % 64 = 0 THEN
      PERFORM billing_fold_tallies(NEW.customer_id);
    END IF;
    RETURN NULL;
  END IF;
  PERFORM billing_tally(OLD, -1);
  PERFORM billing_tally(NEW, 1);
  RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER billing_tally_came AFTER INSERT ON billing_balance REFERENCING NEW TABLE AS came
  FOR EACH STATEMENT EXECUTE FUNCTION billing_tally_came();

CREATE OR REPLACE TRIGGER billing_tally_gone AFTER DELETE ON billing_balance
  FOR EACH ROW EXECUTE FUNCTION billing_tally_gone();

-- What is compared is compared in the function: PostgreSQL reads the condition of a trigger anew at every statement.
CREATE OR REPLACE TRIGGER billing_tally_moved AFTER UPDATE ON billing_balance
  FOR EACH ROW WHEN (OLD.level <> 'pool' OR NEW.level <> 'pool') EXECUTE FUNCTION billing_tally_moved();
"""

# Rows that somebody else is folding are left to him, rows not yet committed are not seen: nobody waits.
FOLD = """
CREATE OR REPLACE FUNCTION billing_fold_tallies(customer bigint) RETURNS void LANGUAGE sql AS $$
  WITH gone AS (
    DELETE FROM billing_balancetally
    WHERE id = ANY(ARRAY(SELECT id FROM billing_balancetally WHERE customer_id = customer
      ORDER BY feature_id, id FOR UPDATE SKIP LOCKED))
    RETURNING *
  )
  INSERT INTO billing_balancetally (customer_id, feature_id, level, item_id, is_rollover, expires_at, unlimited,
    allows_overage, max_overage, count, prepaid, granted, usage, held, expired, remaining)
  SELECT customer_id, feature_id, level, item_id, is_rollover, expires_at, unlimited, allows_overage, max_overage,
    sum(count), sum(prepaid), sum(granted), sum(usage), sum(held), sum(expired), sum(remaining)
  FROM gone
  GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
  HAVING (sum(count), sum(prepaid), sum(granted), sum(usage), sum(held), sum(expired), sum(remaining))
    <> (0, 0, 0, 0, 0, 0, 0)
$$;
"""

# Space on each page for the next version of a row that is tracked on; what is folded goes soon. Subscriptions with
# controls, and a customer's own among those of its entities, are found without reading all of them.
STORAGE = """
ALTER TABLE billing_balance SET (fillfactor = 85);
ALTER TABLE billing_balancetally SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX IF NOT EXISTS subscription_with_controls ON billing_subscription (customer_id) WHERE billing_controls <> '{}';
CREATE INDEX IF NOT EXISTS subscription_of_customer ON billing_subscription (customer_id) WHERE entity_id IS NULL;
"""

UNDO = """
DROP INDEX subscription_with_controls, subscription_of_customer;
DROP TRIGGER billing_tally_came ON billing_balance;
DROP TRIGGER billing_tally_gone ON billing_balance;
DROP TRIGGER billing_tally_moved ON billing_balance;
DROP FUNCTION billing_tally_came(), billing_tally_gone(), billing_tally_moved(), billing_fold_tallies(bigint),
  billing_tally(billing_balance, integer);
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]

    operations = [migrations.RunSQL(FOLD + TALLY + STORAGE, UNDO)]
