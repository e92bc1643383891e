-- +goose Up

-- The name of a holder, sealed; NULL when there is none. What "holder" has from before is sealed by the first program that
-- opens the books, because this one has no key, and "holder" is empty after that.
ALTER TABLE accounts ADD COLUMN sealed_holder bytea;

CREATE INDEX accounts_unsealed ON accounts (name) WHERE holder <> '';

-- Roles that serve already may go on.
-- +goose StatementBegin
DO $$
DECLARE role name;
BEGIN
    FOR role IN SELECT DISTINCT grantee FROM information_schema.role_table_grants
        WHERE table_schema = current_schema() AND table_name = 'nonces' AND privilege_type = 'INSERT' AND grantee <> current_user
    LOOP
        EXECUTE format('GRANT UPDATE (sealed_holder) ON accounts TO %I', role);
    END LOOP;
END $$;
-- +goose StatementEnd
