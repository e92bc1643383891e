-- +goose Up

-- Public keys of users, whose private keys their devices keep. One that is removed stays.
CREATE TABLE passkeys (
    id         text        PRIMARY KEY, -- credential id, in base64url
    subject    text        NOT NULL,
    name       text        NOT NULL,    -- for people
    added      timestamptz NOT NULL,
    key        bytea       NOT NULL,    -- public, as COSE has it
    count      bigint      NOT NULL CHECK (count BETWEEN 0 AND 4294967295),
    flags      smallint    NOT NULL CHECK (flags BETWEEN 0 AND 255),
    transports text[]      NOT NULL,
    removed    timestamptz              -- null while it counts
);
CREATE INDEX passkeys_subject ON passkeys (subject);

-- Browsers in which users have signed in.
CREATE TABLE sessions (
    id      text        PRIMARY KEY, -- SHA-256 of the secret in the cookie, in base64url
    subject text        NOT NULL,
    method  text        NOT NULL,
    passkey text        NOT NULL,    -- empty for another method
    agent   text        NOT NULL,    -- what the browser calls itself
    bound   bytea,                   -- what a password is bound to it by
    begun   timestamptz NOT NULL,
    seen    timestamptz NOT NULL,
    ends    timestamptz NOT NULL,
    ended   timestamptz              -- null for one that was not ended
);
CREATE INDEX sessions_subject ON sessions (subject);
CREATE INDEX sessions_ends ON sessions (ends);

-- Roles that serve already may go on.
-- +goose StatementBegin
DO $$
DECLARE role name;
BEGIN
    FOR role IN SELECT DISTINCT grantee FROM information_schema.role_table_grants
        WHERE table_schema = current_schema() AND table_name = 'nonces' AND privilege_type = 'INSERT' AND grantee <> current_user
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE (name, count, flags, removed) ON passkeys TO %I', role);
        EXECUTE format('GRANT SELECT, INSERT, DELETE, UPDATE (seen, ended) ON sessions TO %I', role);
    END LOOP;
END $$;
-- +goose StatementEnd
