//! What both databases promise alike: every test here runs on SQLite and on PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test that can't go on says where and ends")]

#[path = "contract/stage.rs"]
#[macro_use]
mod stage;
#[path = "contract/story.rs"]
mod story;

#[path = "contract/commit.rs"]
mod commit;
#[path = "contract/committed.rs"]
mod committed;
#[path = "contract/failure.rs"]
mod failure;
#[path = "contract/holds.rs"]
mod holds;
#[path = "contract/load.rs"]
mod load;
#[path = "contract/log.rs"]
mod log;
#[path = "contract/outbox.rs"]
mod outbox;
#[path = "contract/projections.rs"]
mod projections;
#[path = "contract/reads.rs"]
mod reads;
#[path = "contract/replay.rs"]
mod replay;
#[path = "contract/schema.rs"]
mod schema;
#[path = "contract/streams.rs"]
mod streams;
