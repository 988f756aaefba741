-- The shop: where the orders come from.
--   python -c "import sqlite3; sqlite3.connect('shop.db').executescript(open('shop.sql').read())"
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, country TEXT);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    article TEXT NOT NULL,
    quantity INTEGER,
    price NUMERIC,
    currency TEXT,
    updated_at TEXT NOT NULL
);

-- What is loaded: each order with what the warehouse wants to know of its customer.
CREATE VIEW orders_to_load AS
SELECT o.id, c.name AS customer, c.country, o.article, o.quantity, o.price, o.currency, o.updated_at
FROM orders o JOIN customers c ON c.id = o.customer_id;

INSERT INTO customers (id, name, country) VALUES
    (1, 'Ada Lovelace', 'gb'), (2, '  Grace Hopper ', 'us'), (3, 'Konrad Zuse', 'de'), (4, 'test@example.com', NULL);
INSERT INTO orders (id, customer_id, article, quantity, price, currency, updated_at) VALUES
    (1, 1, 'gear 40', 12, 8.50, 'EUR', '2026-11-20 07:15:00'),
    (2, 2, 'gear 60', 4, 12.25, 'EUR', '2026-11-20 07:52:10'),
    (3, 3, 'shaft', 1, 119.00, 'EUR', '2026-11-20 08:03:44'),
    (4, 1, 'bearing', 0, 3.10, 'EUR', '2026-11-20 08:30:00'),
    (5, 4, 'gear 40', 1, 1.00, 'EUR', '2026-11-20 09:00:00'),
    (6, 2, 'motor', 2, 640.00, 'USD', '2026-11-20 09:41:27'),
    (7, 3, 'belt', 30, 2.20, 'EUR', '2026-11-20 10:05:00'),
    (8, 1, 'belt', 10, NULL, 'EUR', '2026-11-20 10:20:00'),
    (9, 2, 'gear 40', 6, 8.50, 'EUR', '2026-11-20 11:11:11'),
    (10, 3, 'motor', 1, 640.00, 'EUR', '2026-11-20 13:37:00'),
    (11, 1, 'sensor', 8, 45.90, 'EUR', '2026-11-20 14:02:19'),
    (12, 3, 'cable', 100, 0.85, 'EUR', '2026-11-20 15:30:00');
