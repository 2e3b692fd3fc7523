-- The journey's tables, one text for SQLite and PostgreSQL. Times are microseconds since 1970 UTC; structured values are
-- JSON text. {key} is text that sorts by its bytes, {serial} a number that grows with each row.

CREATE TABLE meta (name {key} PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE transitions (
    noun {key} NOT NULL,
    from_state {key} NOT NULL,
    to_state {key} NOT NULL,
    PRIMARY KEY (noun, from_state, to_state)
);

-- Journaled: rebuilt from the log by `audit replay` and compared column by column.

CREATE TABLE people (
    id {key} PRIMARY KEY,
    username {key} NOT NULL,
    display_name TEXT,
    owner TEXT,
    groups TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX people_username ON people (username);
CREATE INDEX people_owner ON people (owner) WHERE owner IS NOT NULL;

CREATE TABLE keys (
    id {key} PRIMARY KEY,
    person {key} NOT NULL,
    kind TEXT NOT NULL,
    fingerprint {key} NOT NULL,
    public_key TEXT NOT NULL,
    label TEXT,
    state TEXT NOT NULL,
    added_at BIGINT NOT NULL,
    expires_at BIGINT,
    claims TEXT,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX keys_active_fingerprint ON keys (fingerprint) WHERE state = 'active';
CREATE INDEX keys_of_person ON keys (person);

CREATE TABLE identities (
    id {key} PRIMARY KEY,
    person {key} NOT NULL,
    issuer TEXT NOT NULL,
    subject TEXT,
    groups TEXT NOT NULL,
    proved_at BIGINT,
    linked_at BIGINT NOT NULL,
    unlinked_at BIGINT,
    version BIGINT NOT NULL
);
CREATE INDEX identities_of_person ON identities (person);

CREATE TABLE directory_users (
    id {key} PRIMARY KEY,
    directory {key} NOT NULL,
    user_name TEXT,
    user_name_key {key} NOT NULL,
    external_id TEXT,
    external_id_key {key},
    profile TEXT,
    active BIGINT NOT NULL,
    shut BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    removed_at BIGINT,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX directory_users_named ON directory_users (directory, user_name_key) WHERE removed_at IS NULL;
CREATE UNIQUE INDEX directory_users_called ON directory_users (directory, external_id_key) WHERE removed_at IS NULL;
CREATE INDEX directory_users_were_called ON directory_users (directory, external_id_key) WHERE removed_at IS NOT NULL;
CREATE INDEX directory_users_there ON directory_users (directory, id) WHERE removed_at IS NULL;

CREATE TABLE directory_groups (
    id {key} PRIMARY KEY,
    directory {key} NOT NULL,
    display_name TEXT,
    name_key {key} NOT NULL,
    external_id TEXT,
    external_id_key {key},
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    removed_at BIGINT,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX directory_groups_named ON directory_groups (directory, name_key) WHERE removed_at IS NULL;
CREATE UNIQUE INDEX directory_groups_called ON directory_groups (directory, external_id_key) WHERE removed_at IS NULL;
CREATE INDEX directory_groups_there ON directory_groups (directory, id) WHERE removed_at IS NULL;

CREATE TABLE directory_members (
    id {key} PRIMARY KEY,
    "group" {key} NOT NULL,
    person {key} NOT NULL,
    member BIGINT NOT NULL,
    since BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE INDEX directory_members_of ON directory_members ("group") WHERE member = 1;
CREATE INDEX directory_memberships ON directory_members (person) WHERE member = 1;

CREATE TABLE chat_accounts (
    id {key} PRIMARY KEY,
    person {key} NOT NULL,
    service TEXT NOT NULL,
    team TEXT NOT NULL,
    account TEXT NOT NULL,
    address {key},
    told TEXT NOT NULL,
    linked_at BIGINT NOT NULL,
    removed_at BIGINT,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX chat_accounts_address ON chat_accounts (address) WHERE removed_at IS NULL AND address IS NOT NULL;
CREATE INDEX chat_accounts_of_person ON chat_accounts (person);

CREATE TABLE requests (
    id {key} PRIMARY KEY,
    person {key} NOT NULL,
    resource {key} NOT NULL,
    role {key} NOT NULL,
    asked TEXT NOT NULL,
    reason TEXT,
    ticket TEXT,
    limits TEXT NOT NULL,
    break_glass BIGINT NOT NULL,
    extends {key},
    door TEXT NOT NULL,
    network TEXT,
    mfa TEXT NOT NULL,
    claims TEXT,
    terms TEXT NOT NULL,
    bundle TEXT NOT NULL,
    policy TEXT NOT NULL,
    risk TEXT,
    risk_says TEXT,
    state TEXT NOT NULL,
    revision BIGINT NOT NULL,
    submitted_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    decided_at BIGINT,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX requests_one_pending ON requests (person, resource, role) WHERE state = 'pending' AND extends IS NULL;
CREATE UNIQUE INDEX requests_one_extension ON requests (extends) WHERE state = 'pending' AND extends IS NOT NULL;
CREATE INDEX requests_pending ON requests (expires_at) WHERE state = 'pending';
CREATE INDEX requests_of_person ON requests (person, id);
CREATE INDEX requests_of_person_submitted ON requests (person, submitted_at);
CREATE INDEX requests_of_resource ON requests (resource, id);
CREATE INDEX requests_for_ticket ON requests (ticket) WHERE ticket IS NOT NULL;
CREATE INDEX requests_to_decide ON requests (id) WHERE state = 'pending';

CREATE TABLE votes (
    id {key} PRIMARY KEY,
    request {key} NOT NULL,
    revision BIGINT NOT NULL,
    voter {key} NOT NULL,
    decision TEXT NOT NULL,
    stages TEXT NOT NULL,
    signature TEXT,
    note TEXT,
    at BIGINT NOT NULL
);
CREATE UNIQUE INDEX votes_one_each ON votes (request, revision, voter);

CREATE TABLE grants (
    id {key} PRIMARY KEY,
    request {key} NOT NULL,
    person {key} NOT NULL,
    resource {key} NOT NULL,
    role {key} NOT NULL,
    limits TEXT NOT NULL,
    terms TEXT NOT NULL,
    length BIGINT,
    break_glass BIGINT NOT NULL,
    bundle TEXT NOT NULL,
    policy TEXT NOT NULL,
    approvers TEXT NOT NULL,
    frozen TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    activate_by BIGINT NOT NULL,
    starts_at BIGINT,
    ends_at BIGINT,
    ended_at BIGINT,
    "end" TEXT,
    version BIGINT NOT NULL
);
CREATE INDEX grants_open ON grants (person) WHERE state <> 'ended';
CREATE INDEX grants_of_person ON grants (person, id);
CREATE INDEX grants_of_resource ON grants (resource, id);
CREATE INDEX grants_open_in_order ON grants (id) WHERE state <> 'ended';
CREATE INDEX grants_of_request ON grants (request);

CREATE TABLE sessions (
    id {key} PRIMARY KEY,
    "grant" {key} NOT NULL,
    person {key} NOT NULL,
    resource {key} NOT NULL,
    role {key} NOT NULL,
    protocol TEXT NOT NULL,
    recording {key} NOT NULL,
    node TEXT NOT NULL,
    state TEXT NOT NULL,
    opened_at BIGINT NOT NULL,
    ended_at BIGINT,
    "end" TEXT,
    confirmed BIGINT,
    bytes_up BIGINT NOT NULL,
    bytes_down BIGINT NOT NULL,
    recording_chunks BIGINT,
    recording_digest TEXT,
    "from" TEXT,
    steps BIGINT NOT NULL,
    alerts TEXT NOT NULL,
    version BIGINT NOT NULL
);
CREATE INDEX sessions_live ON sessions ("grant") WHERE state = 'live';
CREATE INDEX sessions_of_grant ON sessions ("grant");
CREATE INDEX sessions_of_person ON sessions (person, id);
CREATE INDEX sessions_of_person_opened ON sessions (person, opened_at);
CREATE INDEX sessions_of_person_ended ON sessions (person, ended_at);
CREATE INDEX sessions_of_resource ON sessions (resource, id);
CREATE INDEX sessions_of_role_ended ON sessions (resource, role, ended_at);
CREATE INDEX sessions_opened ON sessions (opened_at);
CREATE INDEX sessions_live_in_order ON sessions (id) WHERE state = 'live';
CREATE UNIQUE INDEX sessions_recording ON sessions (recording);

CREATE TABLE locks (
    id {key} PRIMARY KEY,
    scope {key} NOT NULL,
    reason TEXT,
    state TEXT NOT NULL,
    set_at BIGINT NOT NULL,
    until BIGINT,
    lifted_at BIGINT,
    contains BIGINT NOT NULL,
    transmitter {key},
    version BIGINT NOT NULL
);
CREATE INDEX locks_set ON locks (scope) WHERE state = 'set';

CREATE TABLE holds (
    id {key} PRIMARY KEY,
    scope {key} NOT NULL,
    reason TEXT,
    state TEXT NOT NULL,
    set_at BIGINT NOT NULL,
    lifted_at BIGINT,
    version BIGINT NOT NULL
);
CREATE INDEX holds_set ON holds (scope) WHERE state = 'set';

CREATE TABLE reviews (
    id {key} PRIMARY KEY,
    kind TEXT NOT NULL,
    "grant" {key} NOT NULL,
    session {key},
    person {key} NOT NULL,
    reviewers {key} NOT NULL,
    due_at BIGINT NOT NULL,
    state TEXT NOT NULL,
    outcome TEXT,
    done_by TEXT,
    note TEXT,
    follow_ups TEXT,
    reminded_at BIGINT,
    escalated_to {key},
    opened_at BIGINT NOT NULL,
    done_at BIGINT,
    version BIGINT NOT NULL
);
CREATE INDEX reviews_open ON reviews (person) WHERE state = 'open';
CREATE INDEX reviews_due ON reviews (due_at) WHERE state = 'open';
-- Nobody is asked twice at once about one right: the second answer could take away what the first kept.
CREATE UNIQUE INDEX reviews_standing ON reviews ("grant") WHERE state = 'open' AND kind = 'standing';

CREATE TABLE accounts (
    id {key} PRIMARY KEY,
    "grant" {key} NOT NULL,
    resource {key} NOT NULL,
    node TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    dropped_at BIGINT,
    version BIGINT NOT NULL
);
CREATE INDEX accounts_made ON accounts (id) WHERE state = 'made';

CREATE TABLE bundles (
    id {key} PRIMARY KEY,
    digest {key} NOT NULL,
    previous TEXT,
    activated_at BIGINT NOT NULL
);

CREATE TABLE inventory_sources (
    id {key} PRIMARY KEY,
    kind TEXT NOT NULL,
    digest TEXT NOT NULL,
    paths BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    imported_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);

CREATE TABLE inventory_paths (
    id {key} PRIMARY KEY,
    source {key} NOT NULL,
    key {key} NOT NULL,
    reach TEXT NOT NULL,
    target TEXT,
    account TEXT,
    holder TEXT,
    person {key},
    issuance TEXT NOT NULL,
    attribution TEXT NOT NULL,
    detail TEXT,
    state TEXT NOT NULL,
    resource {key},
    accepted_until BIGINT,
    decided_by TEXT,
    reason TEXT,
    found_at BIGINT NOT NULL,
    since BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX inventory_paths_of_source ON inventory_paths (source, key);
CREATE INDEX inventory_paths_in_state ON inventory_paths (state, id);

CREATE TABLE findings (
    id {key} PRIMARY KEY,
    resource {key} NOT NULL,
    kind TEXT NOT NULL,
    key {key} NOT NULL,
    subject TEXT,
    detail TEXT,
    state TEXT NOT NULL,
    accepted_until BIGINT,
    decided_by TEXT,
    reason TEXT,
    found_at BIGINT NOT NULL,
    since BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX findings_of_resource ON findings (resource, key);

CREATE TABLE drift_looks (
    id {key} PRIMARY KEY,
    tried_at BIGINT NOT NULL,
    seen_at BIGINT,
    failed BIGINT NOT NULL,
    detail TEXT,
    findings BIGINT NOT NULL,
    version BIGINT NOT NULL
);

-- Bound by their bundle's digest, which stands in the log.

CREATE TABLE bundle_files (
    digest {key} NOT NULL,
    path {key} NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (digest, path)
);

-- Committed: the log holds a keyed digest of the row.

CREATE TABLE tokens (
    id {key} PRIMARY KEY,
    person {key} NOT NULL,
    made_by {key} NOT NULL,
    verifier {key} NOT NULL,
    scopes TEXT NOT NULL,
    "grant" {key},
    mfa TEXT NOT NULL,
    claims TEXT,
    assertion {key},
    identity {key},
    sid TEXT,
    label TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE UNIQUE INDEX tokens_verifier ON tokens (verifier);
CREATE UNIQUE INDEX tokens_assertion ON tokens (assertion);
CREATE INDEX tokens_of_person ON tokens (person);
CREATE INDEX tokens_of_grant ON tokens ("grant");

CREATE TABLE passkeys (
    id {key} PRIMARY KEY,
    person {key} NOT NULL,
    credential {key} NOT NULL,
    public_key TEXT NOT NULL,
    label TEXT,
    aaguid TEXT NOT NULL,
    backed_up BIGINT NOT NULL,
    counter BIGINT NOT NULL,
    version BIGINT NOT NULL,
    added_at BIGINT NOT NULL,
    used_at BIGINT,
    removed_at BIGINT
);
CREATE UNIQUE INDEX passkeys_credential ON passkeys (credential);
CREATE INDEX passkeys_of_person ON passkeys (person);

CREATE TABLE invitations (
    id {key} PRIMARY KEY,
    person {key} NOT NULL,
    verifier {key} NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE UNIQUE INDEX invitations_verifier ON invitations (verifier);

CREATE TABLE secrets (
    name {key} PRIMARY KEY,
    sealed TEXT NOT NULL,
    key_id TEXT NOT NULL,
    set_at BIGINT NOT NULL
);

CREATE TABLE host_keys (
    resource {key} PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    public_key TEXT NOT NULL,
    learned_at BIGINT NOT NULL
);

-- Ephemeral: losing these takes away nothing but comfort.

CREATE TABLE idempotency_keys (
    id {key} PRIMARY KEY,
    person {key} NOT NULL,
    request_digest TEXT NOT NULL,
    status BIGINT,
    body TEXT,
    at BIGINT NOT NULL
);

CREATE TABLE web_sessions (
    id {key} PRIMARY KEY,
    person {key} NOT NULL,
    verifier {key} NOT NULL,
    token {key},
    identity {key},
    sid TEXT,
    passkey {key},
    raised_with {key},
    scopes TEXT NOT NULL,
    mfa TEXT NOT NULL,
    proved_at BIGINT NOT NULL,
    address TEXT,
    agent TEXT,
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX web_sessions_verifier ON web_sessions (verifier);
CREATE INDEX web_sessions_of_person ON web_sessions (person);

CREATE TABLE provider_sessions (
    sid {key} NOT NULL,
    identity {key} NOT NULL,
    ends_at BIGINT NOT NULL,
    PRIMARY KEY (sid, identity)
);

CREATE TABLE saved_searches (
    id {key} PRIMARY KEY,
    person {key} NOT NULL,
    name {key} NOT NULL,
    filters TEXT NOT NULL,
    saved_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX saved_searches_name ON saved_searches (person, name);

-- Resources that people want to see first.
CREATE TABLE pins (
    person {key} NOT NULL,
    resource {key} NOT NULL,
    PRIMARY KEY (person, resource)
);

CREATE TABLE projections (name {key} PRIMARY KEY, version BIGINT NOT NULL, entries BIGINT NOT NULL, body TEXT NOT NULL);

-- How far each stream to the outside has come: the entry of the log that is next, and how many of its lines were taken.
CREATE TABLE streams (
    name {key} PRIMARY KEY,
    next BIGINT NOT NULL,
    line BIGINT NOT NULL,
    mark TEXT NOT NULL,
    taken_at BIGINT,
    failing_since BIGINT,
    due_at BIGINT,
    error TEXT
);

-- Messages to the outside, in the order in which what they tell of happened. A row holds no text: it is made from the entry.
CREATE TABLE outbox (
    seq {serial},
    id {key} NOT NULL,
    destination {key} NOT NULL,
    task TEXT NOT NULL,
    lane {key} NOT NULL,
    entry {key} NOT NULL,
    event TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    since BIGINT NOT NULL,
    claimed_by {key},
    claimed_until BIGINT,
    error TEXT,
    created_at BIGINT NOT NULL,
    done_at BIGINT
);
CREATE UNIQUE INDEX outbox_id ON outbox (id);
CREATE INDEX outbox_waiting ON outbox (destination, lane, seq) WHERE state = 'waiting';
CREATE INDEX outbox_claimed ON outbox (claimed_by) WHERE claimed_by IS NOT NULL;
CREATE INDEX outbox_done ON outbox (done_at) WHERE state <> 'waiting';

-- Where messages about something stand at a chat service.
CREATE TABLE chat_messages (subject {key} PRIMARY KEY, place TEXT NOT NULL, at BIGINT NOT NULL);

-- What counts once, for as long as it could come again: calls of chat services, links in mails.
CREATE TABLE once (id {key} PRIMARY KEY, until BIGINT NOT NULL);

-- Accounts at chat services that ask whose they are, by the digest of the code that they were shown; the newest of an account counts.
CREATE TABLE chat_links (
    id {key} PRIMARY KEY,
    verifier {key} NOT NULL,
    service TEXT NOT NULL,
    team TEXT NOT NULL,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX chat_links_verifier ON chat_links (verifier);

CREATE TABLE leases (name {key} PRIMARY KEY, holder TEXT NOT NULL, until BIGINT NOT NULL);

-- The log. `leaf_index` is empty until the sequencer has given the entry its place in the tree.

CREATE TABLE entries (
    seq {serial},
    id {key} NOT NULL,
    at BIGINT NOT NULL,
    actor {key} NOT NULL,
    door TEXT NOT NULL,
    name {key} NOT NULL,
    leaf TEXT NOT NULL,
    texts TEXT NOT NULL,
    leaf_index BIGINT
);
CREATE UNIQUE INDEX entries_id ON entries (id);
CREATE UNIQUE INDEX entries_leaf_index ON entries (leaf_index) WHERE leaf_index IS NOT NULL;
CREATE INDEX entries_unsequenced ON entries (seq) WHERE leaf_index IS NULL;
CREATE INDEX entries_at ON entries (at);
CREATE INDEX entries_actor ON entries (actor, seq);
CREATE INDEX entries_name ON entries (name, seq);
-- What says how many were refused lately.
CREATE INDEX entries_signin_refused ON entries (at) WHERE name = 'signin.refused';
