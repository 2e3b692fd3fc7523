-- The walls of the journey's tables, in PostgreSQL's words.

CREATE FUNCTION tide_step() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    before text := '';
BEGIN
    IF TG_OP = 'UPDATE' THEN
        before := OLD.state;
        IF before = NEW.state THEN
            RETURN NEW;
        END IF;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM transitions WHERE noun = TG_TABLE_NAME AND from_state = before AND to_state = NEW.state) THEN
        RAISE EXCEPTION 'tidegate: this step does not exist in %', TG_TABLE_NAME USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

DO $$
DECLARE
    noun text;
BEGIN
    FOREACH noun IN ARRAY ARRAY['people', 'keys', 'requests', 'grants', 'sessions', 'locks', 'holds', 'reviews', 'accounts', 'inventory_paths', 'findings'] LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE INSERT OR UPDATE OF state ON %I FOR EACH ROW EXECUTE FUNCTION tide_step()', noun || '_step', noun);
    END LOOP;
END $$;

CREATE FUNCTION tide_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.seq = OLD.seq AND NEW.id = OLD.id AND NEW.at = OLD.at AND NEW.actor = OLD.actor AND NEW.door = OLD.door
            AND NEW.name = OLD.name AND NEW.leaf = OLD.leaf
            AND (OLD.leaf_index IS NULL OR NEW.leaf_index IS NOT DISTINCT FROM OLD.leaf_index) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'tidegate: the log is append-only' USING ERRCODE = 'check_violation';
END $$;

CREATE TRIGGER entries_append_only BEFORE UPDATE OR DELETE ON entries FOR EACH ROW EXECUTE FUNCTION tide_append_only();
CREATE TRIGGER entries_never_emptied BEFORE TRUNCATE ON entries FOR EACH STATEMENT EXECUTE FUNCTION tide_append_only();

-- Which entries speak of what, by a digest of each id and name in them. It grows with the log, and like it.
CREATE TABLE entry_mentions (mention BIGINT NOT NULL, seq BIGINT NOT NULL, PRIMARY KEY (mention, seq));
CREATE FUNCTION tide_grows_alone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'tidegate: the log is append-only' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER entry_mentions_append_only BEFORE UPDATE OR DELETE ON entry_mentions FOR EACH ROW EXECUTE FUNCTION tide_grows_alone();
CREATE TRIGGER entry_mentions_never_emptied BEFORE TRUNCATE ON entry_mentions FOR EACH STATEMENT EXECUTE FUNCTION tide_grows_alone();
