"""Put the parts of the embedded store together."""

from angarium.store.sqlite.deliveries import Deliveries
from angarium.store.sqlite.log import Log
from angarium.store.sqlite.registry import Registry
from angarium.store.sqlite.retention import Retention


class SqliteStore(Log, Registry, Deliveries, Retention):
    """Everything in one SQLite file, which one process has at a time.

    `SqliteStore(path)` says where; nothing happens before `open`. `unindexed_max` says how many rows may be without an
    index before the writer makes it.
    """
