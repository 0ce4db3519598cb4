"""A test's own database: short questions to it."""
import psycopg
from psycopg.rows import dict_row

from servers import wait_until


class Database:
    def __init__(self, url):
        self.url = url
        self._connection = None

    def connect(self, **options):
        """A connection of its own, for a test that needs transactions."""
        return psycopg.connect(self.url, row_factory=dict_row, **options)

    def _cursor(self, sql, parameters):
        if self._connection is None or self._connection.closed:
            self._connection = self.connect(autocommit=True)
        try:
            return self._connection.execute(sql, parameters or None)
        except psycopg.OperationalError:
            # The server was stopped in between; a second failure is the caller's.
            self._connection.close()
            self._connection = self.connect(autocommit=True)
            return self._connection.execute(sql, parameters or None)

    def rows(self, sql, *parameters):
        """All rows, as dicts."""
        return self._cursor(sql, parameters).fetchall()

    def row(self, sql, *parameters):
        """The first row as a dict, or None."""
        return self._cursor(sql, parameters).fetchone()

    def value(self, sql, *parameters):
        """The first column of the first row, or None."""
        found = self.row(sql, *parameters)
        return next(iter(found.values())) if found else None

    def execute(self, sql, *parameters):
        """A statement without rows; returns how many it touched."""
        return self._cursor(sql, parameters).rowcount

    def logs(self, **columns):
        """Rows of delivery_logs in the order in which they were made, where each column has the value (None: is null)."""
        sql = "SELECT * FROM delivery_logs WHERE true"
        values = []
        for name, value in columns.items():
            sql += f" AND {name} IS NOT DISTINCT FROM %s"
            values.append(value)
        return self.rows(sql + " ORDER BY created_at, attempt", *values)

    def count(self, table, where="true", *parameters):
        return self.value(f"SELECT count(*) FROM {table} WHERE {where}", *parameters)

    def wait(self, sql, *parameters, deadline_s=30):
        """Waits until the first column of the first row is true; returns it."""
        return wait_until(lambda: self.value(sql, *parameters), deadline_s, what=f"{sql} {parameters}")

    def wait_count(self, n, table, where="true", *parameters, deadline_s=30):
        """Waits until at least n rows are there; returns how many there are."""
        seen = [0]

        def enough():
            seen[0] = self.count(table, where, *parameters)
            return seen[0] >= n
        try:
            wait_until(enough, deadline_s, 0.1, f"{n} rows in {table}")
        except TimeoutError as late:
            raise AssertionError(f"{late}: {seen[0]} are there ({where} {parameters})") from late
        return seen[0]

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None
