-- +goose Up

-- What a token is for, by whom it is used under a grant, and when it was issued. It is not
-- known of rows from before.
ALTER TABLE certificates
    ADD COLUMN issued timestamptz,
    ADD COLUMN scope  text NOT NULL DEFAULT '',
    ADD COLUMN actor  text NOT NULL DEFAULT '';

-- The name of the holder of an account, for people.
ALTER TABLE accounts ADD COLUMN holder text NOT NULL DEFAULT '';

-- Whose books these are.
ALTER TABLE house RENAME TO installation;

-- Roles that serve already may go on.
-- +goose StatementBegin
DO $$
DECLARE role name;
BEGIN
    FOR role IN SELECT DISTINCT grantee FROM information_schema.column_privileges
        WHERE table_schema = current_schema() AND table_name = 'certificates' AND column_name = 'not_after'
            AND privilege_type = 'UPDATE' AND grantee <> current_user
    LOOP
        EXECUTE format('GRANT UPDATE (issued, scope, actor) ON certificates TO %I', role);
    END LOOP;
    FOR role IN SELECT DISTINCT grantee FROM information_schema.column_privileges
        WHERE table_schema = current_schema() AND table_name = 'accounts' AND column_name = 'owner'
            AND privilege_type = 'UPDATE' AND grantee <> current_user
    LOOP
        EXECUTE format('GRANT UPDATE (holder) ON accounts TO %I', role);
    END LOOP;
END $$;
-- +goose StatementEnd
