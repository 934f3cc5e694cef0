from django.db import migrations

# No number of a balance changes without an entry that explains it. A statement that writes both says so, for itself
# alone (billing.services.ledger.EXPLAINED); any other is refused before it touches a row. What opens a balance is
# looked at when its transaction ends: its entries must sum to it by then.
GUARD = """
CREATE FUNCTION billing_balance_unexplained() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (OLD.granted, OLD.usage, OLD.held, OLD.expired) IS DISTINCT FROM
    (NEW.granted, NEW.usage, NEW.held, NEW.expired) THEN
    RAISE EXCEPTION 'Balance % changes only together with a ledger entry.', OLD.id
      USING ERRCODE = 'restrict_violation', HINT = 'Change it through billing.services.ledger, or the admin.';
  END IF;
  RETURN NEW;
END
$$;

CREATE TRIGGER billing_balance_explained BEFORE UPDATE OF granted, usage, held, expired ON billing_balance
  FOR EACH ROW WHEN (current_setting('subledger.explained', true) IS DISTINCT FROM statement_timestamp()::text)
  EXECUTE FUNCTION billing_balance_unexplained();

CREATE FUNCTION billing_balance_opened() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  disagrees boolean;
BEGIN
  SELECT (b.granted, b.usage, b.held, b.expired) IS DISTINCT FROM (
      SELECT (COALESCE(sum(e.granted), 0), COALESCE(sum(e.usage), 0), COALESCE(sum(e.held), 0),
        COALESCE(sum(e.expired), 0))
      FROM billing_ledgerentry e WHERE e.balance_id = b.id)
    INTO disagrees FROM billing_balance b WHERE b.id = NEW.id;
  IF disagrees THEN
    RAISE EXCEPTION 'Balance % was opened without ledger entries that explain it.', NEW.id
      USING ERRCODE = 'restrict_violation', HINT = 'Open it with billing.services.ledger.open_balances.';
  END IF;
  RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER billing_balance_opened AFTER INSERT ON billing_balance DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW WHEN (NEW.granted <> 0 OR NEW.usage <> 0 OR NEW.held <> 0 OR NEW.expired <> 0)
  EXECUTE FUNCTION billing_balance_opened();
"""

UNDO = """
DROP TRIGGER billing_balance_explained ON billing_balance;
DROP TRIGGER billing_balance_opened ON billing_balance;
DROP FUNCTION billing_balance_unexplained(), billing_balance_opened();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0009_approvals")]

    operations = [migrations.RunSQL(GUARD, UNDO)]
