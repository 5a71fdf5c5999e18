-- How a store is read and written row by row when it is copied, whatever the table. What stands in braces is filled in
-- from `copying.py`: tables, columns and the marks of values.

-- first_page --
-- Return a table's first rows in the order of its key.
SELECT {columns} FROM {source} ORDER BY {key} LIMIT {limit}

-- page --
-- Return a table's next rows after one of them.
SELECT {columns} FROM {source} WHERE ({key}) > ({after}) ORDER BY {key} LIMIT {limit}

-- count --
-- Return how many rows a table has.
SELECT count(*) FROM {source}

-- insert --
-- Write rows.
INSERT INTO {table} ({columns}) VALUES {rows}

-- rows --
-- Return the rows with some keys.
SELECT {columns} FROM {source} WHERE ({key}) IN ({keys})

-- of_partition --
-- Return a partition's rows in the order of a key.
SELECT {columns} FROM {source} WHERE "partition" = {partition} ORDER BY {key}
