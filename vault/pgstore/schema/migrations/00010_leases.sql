-- +goose Up

-- Work that one replica does for all, and which of them has taken it until a time by the clock of the database.
CREATE TABLE leases (
    work   text        PRIMARY KEY,
    holder bytea       NOT NULL, -- as in replicas
    until  timestamptz NOT NULL
);

-- Roles that serve already may go on.
-- +goose StatementBegin
DO $$
DECLARE role name;
BEGIN
    FOR role IN SELECT DISTINCT grantee FROM information_schema.role_table_grants
        WHERE table_schema = current_schema() AND table_name = 'nonces' AND privilege_type = 'INSERT' AND grantee <> current_user
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON leases TO %I', role);
    END LOOP;
END $$;
-- +goose StatementEnd
