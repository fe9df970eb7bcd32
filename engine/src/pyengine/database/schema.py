"""The tables, and how an older database becomes a newer one (docs/adr/0005).

``PRAGMA user_version`` counts the migrations that were applied. A migration, once released, is
never changed: a new one is appended. A database that is newer than this program is refused.
"""

from __future__ import annotations

_FIRST = """
CREATE TABLE facts (            -- such as the boot id under which the root was last swept
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE blobs (            -- files of blobs/sha256/, by "sha256:..."
    digest TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    media_type TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE layers (           -- directories of layers/, by "sha256:..." of the uncompressed tar
    diff_id TEXT PRIMARY KEY,
    size INTEGER NOT NULL             -- bytes of the uncompressed tar
) WITHOUT ROWID;

CREATE TABLE images (
    id TEXT PRIMARY KEY,              -- 64 hexadecimal digits: the config's sha256
    manifest_digest TEXT NOT NULL,
    config TEXT NOT NULL,             -- the image config as it came, JSON
    created_at REAL NOT NULL,         -- by the image's own word, seconds since the epoch
    added_at REAL NOT NULL,
    size INTEGER NOT NULL             -- bytes of its layers and its config
) WITHOUT ROWID;

CREATE TABLE image_layers (
    image_id TEXT NOT NULL REFERENCES images ON DELETE CASCADE,
    position INTEGER NOT NULL,        -- 0 is the bottom
    diff_id TEXT NOT NULL REFERENCES layers,
    PRIMARY KEY (image_id, position)
) WITHOUT ROWID;
CREATE INDEX image_layers_by_layer ON image_layers (diff_id);

CREATE TABLE image_blobs (            -- manifests, config and layers as they came
    image_id TEXT NOT NULL REFERENCES images ON DELETE CASCADE,
    digest TEXT NOT NULL REFERENCES blobs,
    PRIMARY KEY (image_id, digest)
) WITHOUT ROWID;
CREATE INDEX image_blobs_by_blob ON image_blobs (digest);

CREATE TABLE names (                  -- "registry/repository:tag"
    name TEXT PRIMARY KEY,
    image_id TEXT NOT NULL REFERENCES images ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX names_by_image ON names (image_id);

CREATE TABLE digests (                -- "registry/repository" "sha256:...", where it was pulled
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    image_id TEXT NOT NULL REFERENCES images ON DELETE CASCADE,
    PRIMARY KEY (repository, digest)
) WITHOUT ROWID;
CREATE INDEX digests_by_image ON digests (image_id);

CREATE TABLE containers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    image_id TEXT REFERENCES images,  -- NULL with --rootfs
    image_name TEXT NOT NULL,
    created_at REAL NOT NULL,
    options TEXT NOT NULL,            -- what create was asked for, JSON, never changed
    -- what is known of its life; a running one's truth is the runtime's state and the exit file
    status TEXT NOT NULL,             -- created, running, paused, exited, removing
    boot_id TEXT,                     -- of the boot in which it was started
    pid INTEGER,
    pid_start INTEGER,                -- field 22 of /proc/PID/stat: tells a reused pid
    monitor_pid INTEGER,
    started_at REAL,
    finished_at REAL,
    exit_code INTEGER,
    oom_killed INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE INDEX containers_by_image ON containers (image_id);
CREATE INDEX containers_by_age ON containers (created_at);

CREATE TABLE container_layers (       -- keeps layers from removal while a container needs them
    container_id TEXT NOT NULL REFERENCES containers ON DELETE CASCADE,
    position INTEGER NOT NULL,
    diff_id TEXT NOT NULL REFERENCES layers,
    PRIMARY KEY (container_id, position)
) WITHOUT ROWID;
CREATE INDEX container_layers_by_layer ON container_layers (diff_id);

CREATE TABLE volumes (
    name TEXT PRIMARY KEY,
    created_at REAL NOT NULL,
    anonymous INTEGER NOT NULL,
    options TEXT NOT NULL             -- driver, labels, options, JSON
) WITHOUT ROWID;

CREATE TABLE container_volumes (
    container_id TEXT NOT NULL REFERENCES containers ON DELETE CASCADE,
    volume TEXT NOT NULL REFERENCES volumes,
    PRIMARY KEY (container_id, volume)
) WITHOUT ROWID;
CREATE INDEX container_volumes_by_volume ON container_volumes (volume);

CREATE TABLE exec_sessions (
    id TEXT PRIMARY KEY,
    container_id TEXT NOT NULL REFERENCES containers ON DELETE CASCADE,
    created_at REAL NOT NULL,
    options TEXT NOT NULL,
    pid INTEGER,
    exit_code INTEGER
) WITHOUT ROWID;
CREATE INDEX exec_sessions_by_container ON exec_sessions (container_id);

CREATE TABLE intents (                -- what is under way and must be finished or rolled back
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    object TEXT NOT NULL,
    owner TEXT NOT NULL,              -- its lock file is held for as long as the owner lives
    owner_pid INTEGER NOT NULL,       -- for messages only
    started_at REAL NOT NULL,
    data TEXT NOT NULL                -- JSON
);

CREATE TABLE holds (                  -- blobs and layers that an intent counts on
    intent_id INTEGER NOT NULL REFERENCES intents ON DELETE CASCADE,
    digest TEXT NOT NULL,
    fresh INTEGER NOT NULL,           -- 1: this intent added it, a rollback removes it again
    PRIMARY KEY (intent_id, digest)
) WITHOUT ROWID;
CREATE INDEX holds_by_digest ON holds (digest);
"""

_EXIT_CODES = """
CREATE TABLE exit_codes (             -- of containers removed a short while ago, for `wait`
    container_id TEXT PRIMARY KEY,
    code INTEGER NOT NULL,
    at REAL NOT NULL
) WITHOUT ROWID;
"""

_MANIFEST_LISTS = """
CREATE TABLE manifest_lists (         -- made by `manifest create`
    name TEXT PRIMARY KEY,            -- "registry/repository:tag"
    content TEXT NOT NULL,            -- the index, JSON
    places TEXT NOT NULL              -- by digest, where each of its images is, JSON
) WITHOUT ROWID;
"""

_VOLUMES_AND_SECRETS = """
ALTER TABLE volumes ADD COLUMN needs_copy_up INTEGER NOT NULL DEFAULT 1;  -- never used yet
ALTER TABLE volumes ADD COLUMN needs_chown INTEGER NOT NULL DEFAULT 1;

CREATE TABLE volume_mounts (          -- who needs a volume with mount options to be mounted
    volume TEXT NOT NULL REFERENCES volumes ON DELETE CASCADE,
    user TEXT NOT NULL,               -- a container's id, or one call of `volume mount`
    boot_id TEXT NOT NULL,            -- a mount does not outlive its boot
    PRIMARY KEY (volume, user)
) WITHOUT ROWID;

CREATE TABLE secrets (                -- the data is the driver's
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    driver TEXT NOT NULL,
    driver_options TEXT NOT NULL,     -- JSON
    labels TEXT NOT NULL              -- JSON
) WITHOUT ROWID;
"""

_ENDS = """
CREATE TABLE ends (                   -- how a container's last lives ended, for `why`
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    container_id TEXT NOT NULL REFERENCES containers ON DELETE CASCADE,
    end TEXT NOT NULL                 -- JSON
);
CREATE INDEX ends_by_container ON ends (container_id);
"""

_DEPENDENCIES = """
CREATE TABLE container_dependencies ( -- who is started first, and removed last
    container_id TEXT NOT NULL REFERENCES containers ON DELETE CASCADE,
    needs TEXT NOT NULL,
    PRIMARY KEY (container_id, needs)
) WITHOUT ROWID;
CREATE INDEX container_dependencies_by_need ON container_dependencies (needs);
"""

_LIST_TIMES = """
ALTER TABLE manifest_lists ADD COLUMN created_at REAL NOT NULL DEFAULT 0;
"""

_SIGNATURES = """
CREATE TABLE image_signatures (       -- that came with an image; the bytes are blobs of it
    image_id TEXT NOT NULL REFERENCES images ON DELETE CASCADE,
    manifest_digest TEXT NOT NULL,    -- what is signed
    digest TEXT NOT NULL REFERENCES blobs,
    PRIMARY KEY (image_id, manifest_digest, digest)
) WITHOUT ROWID;
"""

_GONE = """
CREATE TABLE gone (                   -- the last containers that were removed, for `why`
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    container_id TEXT NOT NULL,
    name TEXT NOT NULL,
    end TEXT NOT NULL                 -- JSON
);
"""

MIGRATIONS = (
    _FIRST, _EXIT_CODES, _MANIFEST_LISTS, _VOLUMES_AND_SECRETS, _ENDS, _DEPENDENCIES,
    _LIST_TIMES, _SIGNATURES, _GONE,
)  # fmt: skip
