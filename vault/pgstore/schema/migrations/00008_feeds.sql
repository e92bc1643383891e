-- +goose Up

-- The subscriptions of each owner to the event feed.
CREATE TABLE feeds (
    owner         text COLLATE "C" PRIMARY KEY,
    subscriptions jsonb NOT NULL CHECK (jsonb_typeof(subscriptions) = 'array'),
    sources       jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(sources) = 'array') -- of webhooks that arrive
);

-- How far each subscription has been delivered, by index in the journal, and the replica that delivers it until a time. Its
-- row is changed beside the commits, without an entry.
CREATE TABLE feed_cursors (
    id            bigint PRIMARY KEY,
    chain         bigint NOT NULL DEFAULT 0,
    next          bigint NOT NULL DEFAULT 0,
    last          bigint NOT NULL DEFAULT -1, -- -1 for none
    sent          bigint NOT NULL DEFAULT 0,
    test          bigint NOT NULL DEFAULT 0,
    test_error    text   NOT NULL DEFAULT '',
    delivered     timestamptz,
    failing       timestamptz,
    tries         bigint NOT NULL DEFAULT 0,
    error         text   NOT NULL DEFAULT '',
    again         timestamptz,
    holder        text   NOT NULL DEFAULT '',
    claimed_until timestamptz -- NULL when nobody has claimed it
) WITH (fillfactor = 50); -- claims are renewed every few seconds

-- Roles that serve already may go on.
-- +goose StatementBegin
DO $$
DECLARE role name;
BEGIN
    FOR role IN SELECT DISTINCT grantee FROM information_schema.role_table_grants
        WHERE table_schema = current_schema() AND table_name = 'nonces' AND privilege_type = 'INSERT' AND grantee <> current_user
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE (subscriptions, sources) ON feeds TO %I', role);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON feed_cursors TO %I', role);
    END LOOP;
END $$;
-- +goose StatementEnd
