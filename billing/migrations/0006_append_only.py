from django.db import migrations

# The last guard of the books: not even a stray statement edits or removes what was written down. Only the prune command
# may, which says so for its own transaction: SET LOCAL subledger.pruning = 'on'.
GUARD = """
CREATE FUNCTION billing_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('subledger.pruning', true) = 'on' THEN
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
  END IF;
  RAISE EXCEPTION '% is append-only: row % cannot be changed or removed.', TG_TABLE_NAME, OLD.id
    USING ERRCODE = 'restrict_violation',
      HINT = 'Correct the books with a new entry (manage.py repair); what is old goes with manage.py prune.';
END
$$;

CREATE TRIGGER billing_ledgerentry_append_only BEFORE UPDATE OR DELETE ON billing_ledgerentry
  FOR EACH ROW EXECUTE FUNCTION billing_append_only();

CREATE TRIGGER billing_usageevent_append_only BEFORE UPDATE OR DELETE ON billing_usageevent
  FOR EACH ROW EXECUTE FUNCTION billing_append_only();
"""

UNDO = """
DROP TRIGGER billing_ledgerentry_append_only ON billing_ledgerentry;
DROP TRIGGER billing_usageevent_append_only ON billing_usageevent;
DROP FUNCTION billing_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0005_licenses")]

    operations = [migrations.RunSQL(GUARD, UNDO)]
