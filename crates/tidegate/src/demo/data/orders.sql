CREATE TABLE customers (
    id integer PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL UNIQUE,
    phone text,
    city text NOT NULL,
    since date NOT NULL
);
CREATE TABLE orders (
    id integer PRIMARY KEY,
    customer_id integer NOT NULL REFERENCES customers,
    status text NOT NULL CHECK (status IN ('new', 'paid', 'sent', 'returned')),
    note text,
    total numeric(10, 2) NOT NULL,
    placed_at timestamptz NOT NULL
);
CREATE TABLE order_lines (
    order_id integer NOT NULL REFERENCES orders,
    line integer NOT NULL,
    article text NOT NULL,
    quantity integer NOT NULL,
    price numeric(10, 2) NOT NULL,
    PRIMARY KEY (order_id, line)
);
CREATE TABLE payments (
    id integer PRIMARY KEY,
    order_id integer NOT NULL REFERENCES orders,
    amount numeric(10, 2) NOT NULL,
    status text NOT NULL,
    paid_at timestamptz,
    card text,
    card_token text
);
INSERT INTO customers
SELECT n,
    (ARRAY['Mia', 'Noah', 'Lina', 'Emil', 'Sofia', 'Jonas', 'Clara', 'Paul', 'Nora', 'Felix'])[1 + n % 10] || ' ' ||
    (ARRAY['Berg', 'Kaya', 'Novak', 'Silva', 'Lind', 'Costa', 'Weber', 'Rossi', 'Dubois'])[1 + n % 9],
    'customer' || n || '@example.com',
    '+49 30 5550 ' || lpad(n::text, 4, '0'),
    (ARRAY['Berlin', 'Lisboa', 'Wien', 'Praha', 'Oslo', 'Torino'])[1 + n % 6],
    date '2023-01-01' + n * 3
FROM generate_series(1, 200) AS n;
INSERT INTO orders
SELECT n, 1 + (n * 7) % 200, (ARRAY['new', 'paid', 'sent', 'sent', 'returned'])[1 + n % 5], NULL, 0,
    timestamptz '2026-01-01 08:00+00' + n * interval '53 minutes'
FROM generate_series(1, 1500) AS n;
INSERT INTO order_lines
SELECT o.id, l,
    (ARRAY['kettle', 'lamp', 'rug', 'teapot', 'clock', 'chair', 'mug'])[1 + (o.id + l) % 7],
    1 + (o.id * l) % 3, 9.90 + ((o.id + l) % 7) * 12
FROM orders o, generate_series(1, 3) AS l;
UPDATE orders SET total = t.sum FROM (SELECT order_id, sum(quantity * price) FROM order_lines GROUP BY order_id) AS t WHERE t.order_id = id;
INSERT INTO payments
SELECT id, id, total, CASE status WHEN 'new' THEN 'open' ELSE 'settled' END,
    CASE status WHEN 'new' THEN NULL ELSE placed_at + interval '4 minutes' END,
    '**** **** **** ' || lpad((id * 37 % 10000)::text, 4, '0'), md5('card' || id)
FROM orders;
