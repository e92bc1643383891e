-- +goose Up

-- Replicas that run. Each renews its row by the clock of the database. A replica whose row
-- is gone commits nothing any more: what needs all of them stopped deletes rows that were
-- not renewed.
CREATE TABLE replicas (
    id      bytea       PRIMARY KEY,
    name    text        NOT NULL, -- the machine and the data folder, for people
    renewed timestamptz NOT NULL
);

-- What a replica saw of this database before it went back. Those that saw nothing of it
-- serve on it no more either, until a new log begins (atmctl audit recover).
CREATE TABLE rollbacks (
    replica text        NOT NULL, -- that noticed it, for people
    size    bigint      NOT NULL, -- entries of the audit log that it had seen
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (replica, size)
);

-- Of two uses of a nonce, one whose connection was lost knows itself again.
ALTER TABLE nonces ADD COLUMN use bytea;

-- Holds that are over are swept: none lives for more than 30 days after it was made.
ALTER TABLE holds ADD COLUMN made timestamptz NOT NULL DEFAULT now();
ALTER TABLE holds ALTER COLUMN made SET DEFAULT clock_timestamp();

CREATE INDEX holds_made ON holds (made);
CREATE INDEX grants_expires ON grants (expires);
CREATE INDEX revocations_at ON revocations (at) WHERE name LIKE 'jti:%';

-- What is over is deleted by this function alone, a part at a time, so that the role of a
-- server needs no right to delete what counts. It keeps
--   grants for 7 days after they expired,
--   revocations of tokens and invitations for 14 days, since none of them lives for more than 6,
--   certificates for a day after they ended, unless they were revoked,
--   holds for 37 days, and as long as their account has them as pending.
-- Revocations of certificates and of everything of a subject stay: fsck could not tell one
-- that was swept from one that somebody deleted.
-- +goose StatementBegin
CREATE FUNCTION sweep() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    DELETE FROM grants WHERE id IN (SELECT id FROM grants
        WHERE expires < clock_timestamp() - interval '7 days' ORDER BY expires, id LIMIT 1000 FOR UPDATE SKIP LOCKED);
    DELETE FROM revocations WHERE name IN (SELECT name FROM revocations
        WHERE name LIKE 'jti:%' AND at < clock_timestamp() - interval '14 days' ORDER BY at, name LIMIT 1000 FOR UPDATE SKIP LOCKED);
    DELETE FROM certificates WHERE serial IN (SELECT serial FROM certificates c
        WHERE not_after < clock_timestamp() - interval '1 day' AND NOT EXISTS (SELECT FROM revocations WHERE name = 'cert:' || c.serial)
        ORDER BY not_after, serial LIMIT 1000 FOR UPDATE SKIP LOCKED);
    DELETE FROM holds WHERE id IN (SELECT h.id FROM holds h
        WHERE h.made < clock_timestamp() - interval '37 days' AND NOT EXISTS (
            SELECT FROM accounts a WHERE a.name = h.account AND h.id = ANY (a.pending))
        ORDER BY h.made, h.id LIMIT 1000 FOR UPDATE SKIP LOCKED);
$$;
-- +goose StatementEnd

-- Roles that serve already may go on.
-- +goose StatementBegin
DO $$
DECLARE role name;
BEGIN
    FOR role IN SELECT DISTINCT grantee FROM information_schema.role_table_grants
        WHERE table_schema = current_schema() AND table_name = 'nonces' AND privilege_type = 'INSERT' AND grantee <> current_user
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON replicas TO %I', role);
        EXECUTE format('GRANT SELECT, INSERT, DELETE ON rollbacks TO %I', role);
    END LOOP;
END $$;
-- +goose StatementEnd
