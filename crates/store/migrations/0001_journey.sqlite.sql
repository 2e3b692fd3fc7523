-- The walls of the journey's tables, in SQLite's words.

CREATE TRIGGER people_first BEFORE INSERT ON people
WHEN NOT EXISTS (SELECT 1 FROM transitions WHERE noun = 'people' AND from_state = '' AND to_state = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'tidegate: this step does not exist in people');
END;
CREATE TRIGGER people_step BEFORE UPDATE OF state ON people
WHEN OLD.state <> NEW.state
    AND NOT EXISTS (SELECT 1 FROM transitions WHERE noun = 'people' AND from_state = OLD.state AND to_state = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'tidegate: this step does not exist in people');
END;

CREATE TRIGGER keys_first BEFORE INSERT ON keys
WHEN NOT EXISTS (SELECT 1 FROM transitions WHERE noun = 'keys' AND from_state = '' AND to_state = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'tidegate: this step does not exist in keys');
END;
CREATE TRIGGER keys_step BEFORE UPDATE OF state ON keys
WHEN OLD.state <> NEW.state
    AND NOT EXISTS (SELECT 1 FROM transitions WHERE noun = 'keys' AND from_state = OLD.state AND to_state = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'tidegate: this step does not exist in keys');
END;

CREATE TRIGGER requests_first BEFORE INSERT ON requests
WHEN NOT EXISTS (SELECT 1 FROM transitions WHERE noun = 'requests' AND from_state = '' AND to_state = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'tidegate: this step does not exist in requests');
END;
CREATE TRIGGER requests_step BEFORE UPDATE OF state ON requests
WHEN OLD.state <> NEW.state
    AND NOT EXISTS (SELECT 1 FROM transitions WHERE noun = 'requests' AND from_state = OLD.state AND to_state = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'tidegate: this step does not exist in requests');
END;

CREATE TRIGGER grants_first BEFORE INSERT ON grants
WHEN NOT EXISTS (SELECT 1 FROM transitions WHERE noun = 'grants' AND from_state = '' AND to_state = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'tidegate: this step does not exist in grants');
END;
CREATE TRIGGER grants_step BEFORE UPDATE OF state ON grants
WHEN OLD.state <> NEW.state
    AND NOT EXISTS (SELECT 1 FROM transitions WHERE noun = 'grants' AND from_state = OLD.state AND to_state = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'tidegate: this step does not exist in grants');
END;

CREATE TRIGGER sessions_first BEFORE INSERT ON sessions
WHEN NOT EXISTS (SELECT 1 FROM transitions WHERE noun = 'sessions' AND from_state = '' AND to_state = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'tidegate: this step does not exist in sessions');
END;
CREATE TRIGGER sessions_step BEFORE UPDATE OF state ON sessions
WHEN OLD.state <> NEW.state
    AND NOT EXISTS (SELECT 1 FROM transitions WHERE noun = 'sessions' AND from_state = OLD.state AND to_state = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'tidegate: this step does not exist in sessions');
END;

CREATE TRIGGER locks_first BEFORE INSERT ON locks
WHEN NOT EXISTS (SELECT 1 FROM transitions WHERE noun = 'locks' AND from_state = '' AND to_state = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'tidegate: this step does not exist in locks');
END;
CREATE TRIGGER locks_step BEFORE UPDATE OF state ON locks
WHEN OLD.state <> NEW.state
    AND NOT EXISTS (SELECT 1 FROM transitions WHERE noun = 'locks' AND from_state = OLD.state AND to_state = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'tidegate: this step does not exist in locks');
END;

CREATE TRIGGER holds_first BEFORE INSERT ON holds
WHEN NOT EXISTS (SELECT 1 FROM transitions WHERE noun = 'holds' AND from_state = '' AND to_state = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'tidegate: this step does not exist in holds');
END;
CREATE TRIGGER holds_step BEFORE UPDATE OF state ON holds
WHEN OLD.state <> NEW.state
    AND NOT EXISTS (SELECT 1 FROM transitions WHERE noun = 'holds' AND from_state = OLD.state AND to_state = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'tidegate: this step does not exist in holds');
END;

CREATE TRIGGER reviews_first BEFORE INSERT ON reviews
WHEN NOT EXISTS (SELECT 1 FROM transitions WHERE noun = 'reviews' AND from_state = '' AND to_state = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'tidegate: this step does not exist in reviews');
END;
CREATE TRIGGER reviews_step BEFORE UPDATE OF state ON reviews
WHEN OLD.state <> NEW.state
    AND NOT EXISTS (SELECT 1 FROM transitions WHERE noun = 'reviews' AND from_state = OLD.state AND to_state = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'tidegate: this step does not exist in reviews');
END;

CREATE TRIGGER accounts_first BEFORE INSERT ON accounts
WHEN NOT EXISTS (SELECT 1 FROM transitions WHERE noun = 'accounts' AND from_state = '' AND to_state = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'tidegate: this step does not exist in accounts');
END;
CREATE TRIGGER accounts_step BEFORE UPDATE OF state ON accounts
WHEN OLD.state <> NEW.state
    AND NOT EXISTS (SELECT 1 FROM transitions WHERE noun = 'accounts' AND from_state = OLD.state AND to_state = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'tidegate: this step does not exist in accounts');
END;

CREATE TRIGGER inventory_paths_first BEFORE INSERT ON inventory_paths
WHEN NOT EXISTS (SELECT 1 FROM transitions WHERE noun = 'inventory_paths' AND from_state = '' AND to_state = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'tidegate: this step does not exist in inventory_paths');
END;
CREATE TRIGGER inventory_paths_step BEFORE UPDATE OF state ON inventory_paths
WHEN OLD.state <> NEW.state
    AND NOT EXISTS (SELECT 1 FROM transitions WHERE noun = 'inventory_paths' AND from_state = OLD.state AND to_state = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'tidegate: this step does not exist in inventory_paths');
END;

CREATE TRIGGER findings_first BEFORE INSERT ON findings
WHEN NOT EXISTS (SELECT 1 FROM transitions WHERE noun = 'findings' AND from_state = '' AND to_state = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'tidegate: this step does not exist in findings');
END;
CREATE TRIGGER findings_step BEFORE UPDATE OF state ON findings
WHEN OLD.state <> NEW.state
    AND NOT EXISTS (SELECT 1 FROM transitions WHERE noun = 'findings' AND from_state = OLD.state AND to_state = NEW.state)
BEGIN
    SELECT RAISE(ABORT, 'tidegate: this step does not exist in findings');
END;

CREATE TRIGGER entries_append_only BEFORE UPDATE ON entries
WHEN NEW.seq <> OLD.seq OR NEW.id <> OLD.id OR NEW.at <> OLD.at OR NEW.actor <> OLD.actor OR NEW.door <> OLD.door
    OR NEW.name <> OLD.name OR NEW.leaf <> OLD.leaf
    OR (OLD.leaf_index IS NOT NULL AND NEW.leaf_index IS NOT OLD.leaf_index)
BEGIN
    SELECT RAISE(ABORT, 'tidegate: the log is append-only');
END;
CREATE TRIGGER entries_never_emptied BEFORE DELETE ON entries
BEGIN
    SELECT RAISE(ABORT, 'tidegate: the log is append-only');
END;

-- Which entries speak of what, by a digest of each id and name in them. It grows with the log, and like it.
CREATE TABLE entry_mentions (mention BIGINT NOT NULL, seq BIGINT NOT NULL, PRIMARY KEY (mention, seq)) WITHOUT ROWID;
CREATE TRIGGER entry_mentions_append_only BEFORE UPDATE ON entry_mentions
BEGIN
    SELECT RAISE(ABORT, 'tidegate: the log is append-only');
END;
CREATE TRIGGER entry_mentions_never_emptied BEFORE DELETE ON entry_mentions
BEGIN
    SELECT RAISE(ABORT, 'tidegate: the log is append-only');
END;
