"""The days of the log: past HOOKCAST_DATABASE_MAX_SIZE the oldest goes early."""
import datetime

import servers


def add_day(db, table, ago):
    """A day of a table, `ago` days back; its name."""
    day = datetime.datetime.now(datetime.timezone.utc).date() - datetime.timedelta(days=ago)
    end = day + datetime.timedelta(days=1)
    name = f"{table}_{day:%Y%m%d}"
    db.execute(f"CREATE TABLE {name} PARTITION OF {table} FOR VALUES FROM ('{day}') TO ('{end}')")
    return name


def exists(db, table):
    return db.value("SELECT to_regclass(%s) IS NOT NULL", table)


def test_past_the_limit_of_size_the_oldest_day_goes_loudly(installation):
    oldest = [add_day(installation.db, table, 9) for table in ("delivery_logs", "events")]
    kept = add_day(installation.db, "delivery_logs", 8)
    dispatch = installation.dispatch(DATABASE_MAX_SIZE="1MiB")
    servers.wait_until(lambda: not any(exists(installation.db, table) for table in oldest), 30,
                       what="the oldest day is gone")
    assert exists(installation.db, kept)
    for table in oldest:
        assert f'level=warn module=partitions msg="the database is larger than its limit: its oldest day goes early" ' \
            f"table={table} " in dispatch.log()


def test_without_a_limit_no_day_goes_before_its_time(installation):
    old = add_day(installation.db, "delivery_logs", 29)
    expired = add_day(installation.db, "delivery_logs", 40)
    installation.dispatch()
    servers.wait_until(lambda: not exists(installation.db, expired), 30, what="the day past its retention is gone")
    assert exists(installation.db, old)


def test_days_that_can_not_go_are_told_of_once(installation):
    db = installation.db
    expired = add_day(db, "delivery_logs", 40)
    db.execute("CREATE FUNCTION keep() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'it stays'; END $$")
    db.execute("CREATE EVENT TRIGGER keep ON ddl_command_start WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION keep()")
    dispatch = installation.dispatch()
    dispatch.wait_log("level=warn module=upkeep .*the disk fills.*it stays")
    db.execute("DROP EVENT TRIGGER keep")
    dispatch.wait_log("level=info module=upkeep .*looked after again", 40)
    assert not exists(db, expired)
    assert dispatch.log().count("module=upkeep") == 2
