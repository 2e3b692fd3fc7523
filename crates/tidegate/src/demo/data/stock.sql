CREATE TABLE suppliers (id INT PRIMARY KEY, name VARCHAR(80) NOT NULL, email VARCHAR(80) NOT NULL, city VARCHAR(40) NOT NULL);
CREATE TABLE items (id INT PRIMARY KEY, name VARCHAR(80) NOT NULL, supplier_id INT NOT NULL, on_hand INT NOT NULL, FOREIGN KEY (supplier_id) REFERENCES suppliers (id));
CREATE TABLE movements (id INT PRIMARY KEY AUTO_INCREMENT, item_id INT NOT NULL, amount INT NOT NULL, moved_at DATETIME NOT NULL, FOREIGN KEY (item_id) REFERENCES items (id));
INSERT INTO suppliers VALUES (1, 'Nordlicht GmbH', 'sales@nordlicht.example', 'Kiel'), (2, 'Azulejo Lda', 'hello@azulejo.example', 'Porto'), (3, 'Hodiny sro', 'office@hodiny.example', 'Brno');
INSERT INTO items VALUES (1, 'kettle', 1, 140), (2, 'lamp', 1, 62), (3, 'rug', 2, 18), (4, 'teapot', 2, 77), (5, 'clock', 3, 31), (6, 'chair', 1, 12), (7, 'mug', 2, 410);
INSERT INTO movements (item_id, amount, moved_at) SELECT 1 + seq % 7, CAST(5 AS SIGNED) - CAST(seq % 11 AS SIGNED), TIMESTAMPADD(HOUR, seq, '2026-01-01 08:00:00') FROM seq_1_to_500;
