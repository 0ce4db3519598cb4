"""What a page of the log looks up among its counts does not grow with how finely they are kept, or, with running totals, for how
long."""
import pytest
from test_logs import make_days

# Of 25 days: a row a minute, an hour and a day, and the days' partitions; the log itself is empty.
FILL = """
DO $$ DECLARE first timestamptz := date_trunc('day', now(), 'UTC') - interval '25 days'; BEGIN
    FOR n IN 0..24 LOOP PERFORM log_rollups_add_day(first + n * interval '1 day'); END LOOP;
    INSERT INTO log_rollups (level, begins, workspace_id, event_type, delivery_status, status_code, given_up, test, n,
        first_time, after_retry, duration_ms)
    SELECT level, begins, 'w1', 'message.new', 'success', 200, false, false, minutes, minutes, 0, 0
    FROM (VALUES (0, '1 minute'::interval, 1), (1, '1 hour', 60), (2, '1 day', 1440)) l(level, step, minutes)
    CROSS JOIN LATERAL generate_series(first, first + interval '25 days' - step, step) begins;
    INSERT INTO log_rollup_state SELECT level, first + interval '25 days' FROM generate_series(0, 2) level
    ON CONFLICT (level) DO UPDATE SET until = excluded.until;
END $$"""
# And the days' running totals.
FILL_TOTALS = """
DO $$ BEGIN
    INSERT INTO log_totals (level, begins, workspace_id, subscription_id, event_type, delivery_status, status_code, given_up,
        test, earlier, n)
    SELECT 4, begins, 'w1', '00000000-0000-0000-0000-000000000000', event_type, delivery_status, status_code, given_up, test,
        sum(n) OVER (PARTITION BY date_trunc('month', begins, 'UTC') ORDER BY begins) - n, n
    FROM log_rollups WHERE level = 2;
    INSERT INTO log_rollup_state SELECT 4, until FROM log_rollup_state WHERE level = 2
    ON CONFLICT (level) DO UPDATE SET until = excluded.until;
END $$"""
READ = ("SELECT coalesce(sum(idx_tup_read), 0)::int8 FROM pg_stat_user_indexes "
        "WHERE relname LIKE 'log\\_rollups\\_2%' OR relname = 'log_totals'")


@pytest.mark.parametrize("totals, least, most", [(False, 25, 500), (True, 1, 20)])
def test_only_the_coarsest_counts_are_read(database_only, totals, least, most):
    installation = database_only
    make_days(installation.db, 25)
    installation.db.execute(FILL)
    if totals:
        installation.db.execute(FILL_TOTALS)
    installation.db.execute("VACUUM ANALYZE log_rollups, log_totals")
    path = "/api/v1/workspaces/w1/logs?limit=1&offset=36000&end_date=" + installation.db.value("SELECT (now() - interval '1 day')::date::text")
    before = installation.db.value(READ)
    for _ in range(8):
        assert installation.api.get(path).json["total"] == 25 * 1440
    # Once its backends have gone, all that they did is counted.
    installation.api_process.stop()
    installation.db.wait("SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() "
                         "AND application_name = 'hookcast api'")
    read = (installation.db.value(READ) - before) / 8
    assert least <= read < most, read
