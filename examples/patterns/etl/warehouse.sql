-- The warehouse: where the orders go. The first two rows are from long ago.
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    customer TEXT NOT NULL,
    country TEXT,
    article TEXT NOT NULL,
    currency TEXT NOT NULL,
    total REAL NOT NULL CHECK (total < 1000000),
    updated_at TEXT NOT NULL
);
INSERT INTO orders VALUES
    (3, 'Konrad Zuse', 'DE', 'shaft', 'EUR', 99.0, '2026-11-01 00:00:00'),
    (99, 'Nobody', NULL, 'sold out', 'EUR', 1.0, '2025-01-01 00:00:00');
