from django.db import migrations

# The last guard of the books: not even a stray statement edits or removes what was written down. Only the prune command
# may, which says so for its own transaction: SET LOCAL subledger.pruning = 'on'.
APPEND_ONLY = """
CREATE OR REPLACE FUNCTION billing_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('subledger.pruning', true) = 'on' THEN
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
  END IF;
  RAISE EXCEPTION '% is append-only: row % cannot be changed or removed.', TG_TABLE_NAME, OLD.id
    USING ERRCODE = 'restrict_violation',
      HINT = 'Correct the books with a new entry (manage.py repair); what is old goes with manage.py prune.';
END
$$;

CREATE OR REPLACE TRIGGER billing_ledgerentry_append_only BEFORE UPDATE OR DELETE ON billing_ledgerentry
  FOR EACH ROW EXECUTE FUNCTION billing_append_only();

CREATE OR REPLACE TRIGGER billing_usageevent_append_only BEFORE UPDATE OR DELETE ON billing_usageevent
  FOR EACH ROW EXECUTE FUNCTION billing_append_only();
"""

# No number of a balance changes without an entry that explains it. A statement that writes both says so, for itself
# alone (billing.services.balances.ledger.EXPLAINED); any other is refused before it touches a row. What opens a balance is
# looked at when its transaction ends: its entries must sum to it by then.
EXPLAINED = """
CREATE OR REPLACE FUNCTION billing_balance_unexplained() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (OLD.granted, OLD.usage, OLD.held, OLD.expired) IS DISTINCT FROM
    (NEW.granted, NEW.usage, NEW.held, NEW.expired) THEN
    RAISE EXCEPTION 'Balance % changes only together with a ledger entry.', OLD.id
      USING ERRCODE = 'restrict_violation', HINT = 'Change it through billing.services.balances.ledger, or the admin.';
  END IF;
  RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER billing_balance_explained BEFORE UPDATE OF granted, usage, held, expired ON billing_balance
  FOR EACH ROW WHEN (current_setting('subledger.explained', true) IS DISTINCT FROM statement_timestamp()::text)
  EXECUTE FUNCTION billing_balance_unexplained();

CREATE OR REPLACE FUNCTION billing_balance_opened() RETURNS trigger LANGUAGE plpgsql AS $$
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
      USING ERRCODE = 'restrict_violation', HINT = 'Open it with billing.services.balances.ledger.open_balances.';
  END IF;
  RETURN NULL;
END
$$;

DROP TRIGGER IF EXISTS billing_balance_opened ON billing_balance;
CREATE CONSTRAINT TRIGGER billing_balance_opened AFTER INSERT ON billing_balance DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW WHEN (NEW.granted <> 0 OR NEW.usage <> 0 OR NEW.held <> 0 OR NEW.expired <> 0)
  EXECUTE FUNCTION billing_balance_opened();
"""

UNDO = """
DROP TRIGGER billing_ledgerentry_append_only ON billing_ledgerentry;
DROP TRIGGER billing_usageevent_append_only ON billing_usageevent;
DROP TRIGGER billing_balance_explained ON billing_balance;
DROP TRIGGER billing_balance_opened ON billing_balance;
DROP FUNCTION billing_append_only(), billing_balance_unexplained(), billing_balance_opened();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0002_balance_tallies")]

    operations = [migrations.RunSQL(APPEND_ONLY + EXPLAINED, UNDO)]
