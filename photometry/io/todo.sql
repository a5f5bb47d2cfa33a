-- The to-do list, schema 1. Each statement has a name and its purpose in one line:
--     -- name: <name>: <purpose>
-- {where} is a condition made by `Todo` with bound parameters.

-- name: create_todolist: the work, one row per star and data set
CREATE TABLE todolist (
    priority INTEGER PRIMARY KEY ASC NOT NULL,
    starid INTEGER NOT NULL,
    sector INTEGER NOT NULL,
    datasource TEXT NOT NULL DEFAULT 'ffi',
    camera INTEGER NOT NULL,
    ccd INTEGER NOT NULL,
    cadence INTEGER NOT NULL,
    method TEXT DEFAULT NULL,
    tmag REAL,
    status INTEGER DEFAULT NULL,
    cbv_area INTEGER NOT NULL
);

-- name: create_diagnostics: what was measured for each row that was run
CREATE TABLE IF NOT EXISTS diagnostics (
    priority INTEGER PRIMARY KEY ASC NOT NULL,
    lightcurve TEXT,
    method_used TEXT NOT NULL,
    elaptime REAL NOT NULL,
    worker_wait_time REAL,
    mean_flux DOUBLE PRECISION,
    variance DOUBLE PRECISION,
    variability DOUBLE PRECISION,
    rms_hour DOUBLE PRECISION,
    ptp DOUBLE PRECISION,
    pos_row REAL,
    pos_column REAL,
    contamination REAL,
    mask_size INTEGER,
    edge_flux REAL,
    stamp_width INTEGER,
    stamp_height INTEGER,
    stamp_resizes INTEGER,
    errors TEXT,
    FOREIGN KEY (priority) REFERENCES todolist(priority) ON DELETE CASCADE ON UPDATE CASCADE
);

-- name: create_variations: noise on two hours, and which star the variation of a row is
CREATE TABLE IF NOT EXISTS variations (
    priority INTEGER PRIMARY KEY NOT NULL REFERENCES todolist(priority) ON DELETE CASCADE,
    cdpp REAL,
    significance REAL,
    source INTEGER,
    preference REAL,
    offset_row REAL,
    offset_column REAL,
    offset_row_err REAL,
    offset_column_err REAL
);

-- name: save_variation: store which star varies
INSERT OR REPLACE INTO variations
VALUES (:priority, :cdpp, :significance, :source, :preference, :offset_row, :offset_column,
        :offset_row_err, :offset_column_err);

-- name: drop_variation: forget which star varies
DELETE FROM variations WHERE priority = ?;

-- name: select_variations: which star varies, of all rows
SELECT * FROM variations;

-- name: create_photometry_skipped: which row keeps the light that a skipped row shares
CREATE TABLE IF NOT EXISTS photometry_skipped (
    priority INTEGER NOT NULL,
    skipped_by INTEGER NOT NULL,
    FOREIGN KEY (priority) REFERENCES todolist(priority) ON DELETE CASCADE ON UPDATE CASCADE,
    FOREIGN KEY (skipped_by) REFERENCES todolist(priority) ON DELETE RESTRICT ON UPDATE CASCADE
);

-- name: create_tiles: sky tile of each full-frame row, so that one read serves many stars
CREATE TABLE tiles (
    priority INTEGER PRIMARY KEY NOT NULL REFERENCES todolist(priority) ON DELETE CASCADE,
    tile INTEGER NOT NULL
);

-- name: create_overlaps: other stars whose center lies in a row's aperture
CREATE TABLE overlaps (
    priority INTEGER NOT NULL REFERENCES todolist(priority) ON DELETE CASCADE,
    starid INTEGER NOT NULL,
    PRIMARY KEY (priority, starid)
) WITHOUT ROWID;

-- name: create_runs: one row per run of the photometry
CREATE TABLE runs (
    run INTEGER PRIMARY KEY NOT NULL,
    version TEXT NOT NULL,
    settings TEXT NOT NULL,
    host TEXT NOT NULL,
    started TEXT NOT NULL,
    ended TEXT,
    exit_code INTEGER
);

-- name: create_leases: which worker of which run is at a row, until when, for the how-manieth time
CREATE TABLE leases (
    priority INTEGER PRIMARY KEY NOT NULL REFERENCES todolist(priority) ON DELETE CASCADE,
    run INTEGER REFERENCES runs(run),
    worker TEXT,
    until TEXT,
    attempt INTEGER NOT NULL DEFAULT 1
);

-- name: index_unique_target: a star is measured once per data set
CREATE UNIQUE INDEX IF NOT EXISTS unique_target_idx
    ON todolist (starid, datasource, sector, camera, ccd, cadence);

-- name: index_status: pending rows are asked for all the time
CREATE INDEX IF NOT EXISTS status_idx ON todolist (status);

-- name: index_starid: rows of one star
CREATE INDEX IF NOT EXISTS starid_idx ON todolist (starid);

-- name: index_datasource: rows of one kind of data
CREATE INDEX IF NOT EXISTS todolist_datasource_idx ON todolist (datasource);

-- name: index_lightcurve: no two rows share a file
CREATE UNIQUE INDEX IF NOT EXISTS diagnostics_lightcurve_idx ON diagnostics (lightcurve);

-- name: index_skipped: rows that skip or are skipped
CREATE INDEX IF NOT EXISTS photometry_skipped_idx ON photometry_skipped (priority);

-- name: view_status_names: the codes of todolist.status in words
SELECT NULL AS status, 'PENDING' AS name
UNION ALL SELECT 0, 'UNKNOWN' UNION ALL SELECT 1, 'OK' UNION ALL SELECT 2, 'ERROR'
UNION ALL SELECT 3, 'WARNING' UNION ALL SELECT 4, 'ABORT' UNION ALL SELECT 5, 'SKIPPED'
UNION ALL SELECT 6, 'STARTED';

-- name: view_progress: how many rows of each data set are in each state
SELECT t.sector, t.camera, t.ccd, t.cadence,
       CASE WHEN t.datasource = 'ffi' THEN 'ffi' ELSE 'tpf' END AS kind,
       n.name AS status, count(*) AS n_rows
FROM todolist t JOIN status_names n ON n.status IS t.status
GROUP BY 1, 2, 3, 4, 5, 6;

-- name: view_failures: rows that failed or were interrupted, with the reason
SELECT t.priority, t.starid, t.sector, t.camera, t.ccd, t.cadence, t.datasource, t.tmag,
       n.name AS status, d.method_used, d.errors
FROM todolist t JOIN status_names n ON n.status IS t.status
LEFT JOIN diagnostics d ON d.priority = t.priority
WHERE t.status IN (2, 4);

-- name: view_warnings: rows that were measured with a reservation
SELECT t.priority, t.starid, t.sector, t.camera, t.ccd, t.cadence, t.datasource, t.tmag,
       d.method_used, d.errors
FROM todolist t JOIN diagnostics d ON d.priority = t.priority
WHERE t.status = 3;

-- name: view_quarantined: rows that killed their workers and are not tried again by --all
SELECT t.priority, t.starid, t.sector, t.camera, t.ccd, t.cadence, t.datasource, t.tmag,
       l.attempt, d.errors
FROM todolist t JOIN leases l ON l.priority = t.priority
LEFT JOIN diagnostics d ON d.priority = t.priority
WHERE t.status = 2;

-- name: view_skipped_stars: which star keeps the light of each skipped star
SELECT t.priority, t.starid, t.tmag, b.priority AS skipped_by, b.starid AS kept_starid,
       b.tmag AS kept_tmag
FROM photometry_skipped s JOIN todolist t ON t.priority = s.priority
JOIN todolist b ON b.priority = s.skipped_by;

-- name: insert_row: add a row of work
INSERT INTO todolist (priority, starid, sector, datasource, camera, ccd, cadence, method, tmag,
                      cbv_area)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: insert_tile: say on which tile a row is
INSERT INTO tiles (priority, tile) VALUES (?, ?);

-- name: select_pending: the next rows to do, by priority
SELECT priority, starid, sector, camera, ccd, cadence, datasource, method, tmag, cbv_area
FROM todolist WHERE status IS NULL AND priority > ? AND {where}
ORDER BY priority LIMIT ?;

-- name: select_pending_tiles: all rows to do with tile and lost attempts, brightest first
SELECT priority, starid, sector, camera, ccd, cadence, datasource, method, tmag, cbv_area, tile,
       coalesce(attempt, 0)
FROM todolist LEFT JOIN tiles USING (priority) LEFT JOIN leases USING (priority)
WHERE status IS NULL AND {where}
ORDER BY tmag IS NULL, tmag, starid, priority;

-- name: select_random: one pending row by its place among them
SELECT priority, starid, sector, camera, ccd, cadence, datasource, method, tmag, cbv_area
FROM todolist WHERE status IS NULL AND {where}
ORDER BY priority LIMIT 1 OFFSET ?;

-- name: select_measured: rows that have a result, for the settlement
SELECT priority, starid, sector, camera, ccd, cadence, datasource, method, tmag, cbv_area, status,
       method_used, contamination
FROM todolist LEFT JOIN diagnostics USING (priority)
WHERE status IN (1, 3, 5) AND {where} ORDER BY priority;

-- name: select_overlaps: stars in the apertures of rows
SELECT o.priority, o.starid FROM overlaps o JOIN todolist t USING (priority)
WHERE {where} ORDER BY priority, o.starid;

-- name: select_skipped: the present settlement
SELECT priority, skipped_by FROM photometry_skipped JOIN todolist USING (priority)
WHERE {where};

-- name: select_skipped_files: light curves of skipped rows
SELECT d.lightcurve FROM diagnostics d JOIN todolist t USING (priority)
WHERE t.status = 5 AND d.lightcurve IS NOT NULL AND {where} ORDER BY priority;

-- name: select_kept_files: light curves that are results
SELECT d.lightcurve FROM diagnostics d JOIN todolist t USING (priority)
WHERE t.status IN (1, 3) AND d.lightcurve IS NOT NULL;

-- name: select_members: what became of the stars of a CCD, and where their light curves are
SELECT t.starid, t.status, d.lightcurve FROM todolist t LEFT JOIN diagnostics d USING (priority)
WHERE {where};

-- name: select_data: CCDs and cadences of rows
SELECT DISTINCT sector, camera, ccd, cadence FROM todolist WHERE {where};

-- name: select_rates: mean time per star by cadence and kind of data
SELECT t.cadence, substr(t.datasource, 1, 3), avg(d.elaptime), count(*)
FROM diagnostics d JOIN todolist t USING (priority) WHERE {where} GROUP BY 1, 2;

-- name: count_status: rows in each state
SELECT status, count(*) FROM todolist WHERE {where} GROUP BY status;

-- name: set_status: change the state of one row if its present state allows it
UPDATE todolist SET status = ? WHERE priority = ? AND coalesce(status, -1) IN ({sources});

-- name: select_status: state of one row
SELECT status FROM todolist WHERE priority = ?;

-- name: select_interrupted: rows whose run did not end well, but those in quarantine
SELECT priority FROM todolist
WHERE status IN (2, 4, 6) AND {where}
      AND NOT (status = 2 AND priority IN (SELECT l.priority FROM leases l));

-- name: select_hopeless: rows that were begun so often and never came to an end
SELECT priority, starid, sector, camera, ccd, cadence, datasource, method, tmag, cbv_area
FROM todolist JOIN leases USING (priority) WHERE status = 6 AND attempt >= ? AND {where};

-- name: select_attempts: how often a row was begun without coming to an end
SELECT attempt FROM leases WHERE priority = ?;

-- name: select_at_work: masters of runs that have not ended and hold rows for some time yet
SELECT worker, max(until) FROM leases JOIN runs USING (run)
WHERE ended IS NULL AND until > ? GROUP BY run;

-- name: select_begun: rows that are not pending
SELECT priority FROM todolist WHERE status IS NOT NULL AND {where};

-- name: take_lease: note who works on a row; a repeated start is another attempt
INSERT INTO leases (priority, run, worker, until) VALUES (?, ?, ?, ?)
ON CONFLICT (priority) DO UPDATE
SET run = excluded.run, worker = excluded.worker, until = excluded.until, attempt = attempt + 1;

-- name: free_lease: nobody works on a row any more; what it has cost is remembered
UPDATE leases SET run = NULL, until = NULL, worker = NULL WHERE priority = ?;

-- name: drop_lease: a finished row needs no lease
DELETE FROM leases WHERE priority = ?;

-- name: save_diagnostics: store what was measured
INSERT OR REPLACE INTO diagnostics (
    priority, lightcurve, method_used, elaptime, worker_wait_time, mean_flux, variance,
    variability, rms_hour, ptp, pos_row, pos_column, contamination, mask_size, edge_flux,
    stamp_width, stamp_height, stamp_resizes, errors)
VALUES (
    :priority, :lightcurve, :method_used, :elaptime, :worker_wait_time, :mean_flux, :variance,
    :variability, :rms_hour, :ptp, :pos_row, :pos_column, :contamination, :mask_size, :edge_flux,
    :stamp_width, :stamp_height, :stamp_resizes, :errors);

-- name: save_overlap: store one star in a row's aperture
INSERT OR IGNORE INTO overlaps (priority, starid) VALUES (?, ?);

-- name: save_skip: store who keeps a skipped row's light
INSERT INTO photometry_skipped (priority, skipped_by) VALUES (?, ?);

-- name: drop_diagnostics: forget what was measured
DELETE FROM diagnostics WHERE priority = ?;

-- name: drop_overlaps: forget the stars in a row's aperture
DELETE FROM overlaps WHERE priority = ?;

-- name: drop_skip: forget that a row was skipped
DELETE FROM photometry_skipped WHERE priority = ?;

-- name: drop_skips: forget a settlement before a new one is written
DELETE FROM photometry_skipped WHERE priority IN (SELECT priority FROM todolist WHERE {where});

-- name: begin_run: note that a run begins
INSERT INTO runs (version, settings, host, started) VALUES (?, ?, ?, ?);

-- name: end_run: note how a run ended
UPDATE runs SET ended = ?, exit_code = ? WHERE run = ?;

-- name: select_all_tiles: all rows with their tile
SELECT priority, starid, sector, camera, ccd, cadence, datasource, method, tmag, cbv_area, tile
FROM todolist LEFT JOIN tiles USING (priority) ORDER BY priority;

-- name: select_results: what came of the rows that were run
SELECT t.status, d.* FROM todolist t JOIN diagnostics d USING (priority)
WHERE t.status IN (1, 2, 3, 4, 5) ORDER BY priority;

-- name: select_result: what came of one row
SELECT t.status, t.starid, d.* FROM todolist t LEFT JOIN diagnostics d USING (priority)
WHERE t.priority = ?;

-- name: select_all_overlaps: stars in the apertures of all rows
SELECT priority, starid FROM overlaps ORDER BY priority, starid;

-- name: select_runs: versions and settings that a list was run with
SELECT DISTINCT version, settings FROM runs ORDER BY run;

-- name: select_all_runs: all about the runs
SELECT version, settings, host, started, ended, exit_code FROM runs ORDER BY run;

-- name: copy_run: take over the run of another list
INSERT INTO runs (version, settings, host, started, ended, exit_code) VALUES (?, ?, ?, ?, ?, ?);

-- name: put_status: state of a row as another list has it
UPDATE todolist SET status = ? WHERE priority = ?;

-- name: select_last_error: text of the failure stored last
SELECT errors FROM diagnostics d JOIN todolist t USING (priority)
WHERE t.status = 2 ORDER BY d.rowid DESC LIMIT 1;

-- name: migrate_add_cadence: lists of the first years had one cadence for each kind of data
ALTER TABLE todolist ADD COLUMN cadence INTEGER NOT NULL DEFAULT 0;

-- name: migrate_fill_cadence: full-frame images every 30 minutes, from sector 27 on every 10
UPDATE todolist SET cadence = CASE
    WHEN datasource = 'ffi' AND sector < 27 THEN 1800
    WHEN datasource = 'ffi' AND sector < 56 THEN 600
    WHEN datasource != 'ffi' AND sector < 27 THEN 120
    ELSE 0 END;

-- name: migrate_unknown_cadence: data whose cadence cannot be known
SELECT datasource, sector FROM todolist WHERE cadence = 0 LIMIT 1;

-- name: migrate_add_method_used: lists of the first years lack it
ALTER TABLE diagnostics ADD COLUMN method_used TEXT NOT NULL DEFAULT 'aperture';

-- name: migrate_fill_method_used: it was aperture photometry unless something else was asked for
UPDATE diagnostics SET method_used = coalesce(
    CASE WHEN errors LIKE '%switched to Halo%' THEN 'halo' END,
    (SELECT method FROM todolist t WHERE t.priority = diagnostics.priority), 'aperture');

-- name: migrate_add_worker_wait_time: lists of the first years lack it
ALTER TABLE diagnostics ADD COLUMN worker_wait_time REAL;

-- name: migrate_add_edge_flux: lists of the first years lack it
ALTER TABLE diagnostics ADD COLUMN edge_flux REAL;

-- name: migrate_drop_index: it may lack the cadence
DROP INDEX IF EXISTS unique_target_idx;

-- name: migrate_drop_starid: the star is said in the list of work
ALTER TABLE diagnostics DROP COLUMN starid;

-- name: migrate_0_to_1: take over the settlement of an established file, which lacks the stars
INSERT OR IGNORE INTO overlaps (priority, starid)
SELECT s.skipped_by, t.starid FROM photometry_skipped s JOIN todolist t USING (priority);
