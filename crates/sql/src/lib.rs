//! What a statement does, by the database's own grammar, and whether a role may do it.
