"""Keep everything in one SQLite file: a log in commit order, indexed some thousands of entries at a time.

One thread writes, in transactions that take whatever waits (`writer`); two read. What the writer knows without asking
the file is in `ledger`, what a transaction has gathered in `transaction`. The methods of the contract are divided by
its sections: `log`, `registry`, `deliveries`, `retention`; `store` puts them together.
"""

from angarium.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
