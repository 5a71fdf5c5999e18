-- What `angarium doctor` asks a server.

-- standing --
-- Return how the server stands, as this session sees it.
SELECT current_setting('server_version_num')::integer AS version, pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on' AS is_replica,
    clock_timestamp() AS clock, current_setting('fsync') AS fsync,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('synchronous_standby_names') AS standby_names,
    current_setting('server_encoding') AS encoding,
    (SELECT count(*) FROM pg_stat_replication) AS standbys,
    current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
        - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS free_connections

-- mark --
-- Set something for the session, and say which process serves it.
SELECT set_config('angarium.mark', :mark, false), pg_backend_pid() AS pid

-- marked --
-- Return what was set for the session, and which process serves it.
SELECT current_setting('angarium.mark', true) AS mark, pg_backend_pid() AS pid
