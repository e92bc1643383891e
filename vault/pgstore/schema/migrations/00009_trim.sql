-- +goose Up

-- Where a journal begins that was trimmed, and the hashes that its tree goes on from, as vault.Base has them; NULL for a
-- whole journal.
ALTER TABLE log ADD COLUMN base jsonb;
ALTER TABLE log ADD COLUMN begins bigint NOT NULL GENERATED ALWAYS AS (coalesce((base ->> 'Index')::bigint, 0)) STORED
    CHECK (begins BETWEEN 0 AND size);

-- What was trimmed does not come back.
-- +goose StatementBegin
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0];
END $$;
-- +goose StatementEnd
CREATE TRIGGER base_grows AFTER UPDATE OF base ON log FOR EACH ROW WHEN (new.begins < old.begins)
    EXECUTE FUNCTION refuse('a journal that was trimmed does not become longer again');

-- The owner of the tables may delete from the journal, since trim_journal does in their name, but what is before the base
-- alone.
-- +goose StatementBegin
CREATE FUNCTION keep_entries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM removed WHERE index >= coalesce((SELECT begins FROM log), 0)) THEN
        RAISE EXCEPTION 'an entry that the journal keeps is not deleted';
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER entries_stay AFTER DELETE ON journal REFERENCING OLD TABLE AS removed FOR EACH STATEMENT
    EXECUTE FUNCTION keep_entries();
GRANT DELETE ON journal TO CURRENT_USER;

-- Entries and versions are removed by this function alone, at most 10,000 entries at a time and none from the base on, so
-- that the role of a server needs no right to delete them.
-- +goose StatementBegin
CREATE FUNCTION trim_journal(first bigint, past bigint, accounts text[], numbers bigint[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    stop bigint;
BEGIN
    SELECT least(past, first + 10000, begins) INTO STRICT stop FROM log;
    DELETE FROM versions v USING unnest(accounts, numbers) AS n (account, version)
        WHERE v.account = n.account AND v.version = n.version AND v.index < stop;
    DELETE FROM journal WHERE index >= first AND index < stop;
END $$;
-- +goose StatementEnd
REVOKE ALL ON FUNCTION trim_journal FROM PUBLIC;

-- A function that runs as the owner of the tables must find these tables, and not temporary ones of the role that calls
-- it, which come first unless the path says otherwise. Roles that serve already may go on.
-- +goose StatementBegin
DO $$
DECLARE
    books name := (SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = 'journal'::regclass);
    called text;
    role name;
BEGIN
    FOREACH called IN ARRAY '{sweep,keep_entries,trim_journal}'::text[] LOOP
        EXECUTE format('ALTER FUNCTION %I SET search_path = %I, pg_temp', called, books);
    END LOOP;
    FOR role IN SELECT DISTINCT grantee FROM information_schema.role_table_grants
        WHERE table_schema = books AND table_name = 'nonces' AND privilege_type = 'INSERT' AND grantee <> current_user
    LOOP
        EXECUTE format('GRANT UPDATE (base) ON log TO %I', role);
        EXECUTE format('GRANT EXECUTE ON FUNCTION trim_journal TO %I', role);
    END LOOP;
END $$;
-- +goose StatementEnd
