-- Temporary tables of `logferry report` in a DuckDB session, from its view `lines` and its table `listed_files`.

-- One row for each line of the selected functions, without the texts of the function. It is the only read of the objects.
CREATE OR REPLACE TEMP TABLE report_lines AS
SELECT
    coalesce(function, '') AS function,
    environment,
    segment,
    line,
    time,
    epoch_ms(time::TIMESTAMP) AS ms,
    type,
    requestId AS request_id,
    status,
    error_type,
    duration_ms,
    CASE
        WHEN type = 'platform.report'
        THEN coalesce(init_ms, TRY_CAST(TRY(record ->> '$.metrics.restoreDurationMs') AS DOUBLE))
    END AS init_ms,
    memory_mb,
    used_mb,
    CASE WHEN type LIKE 'logferry.%' OR type = 'platform.logsDropped' THEN record END AS record,
    CASE WHEN type = 'platform.initStart' THEN TRY(record ->> '$.initializationType') END AS initialization,
    CASE WHEN type = 'function' THEN octet_length(encode(coalesce(message, record, event, ''))) END AS bytes,
    filename::VARCHAR AS filename,
    coalesce(time::TIMESTAMP >= getvariable('report_since'), true)
        AND coalesce(time::TIMESTAMP <= getvariable('report_until'), true) AS in_window
FROM lines
WHERE environment IS NULL OR function IS NULL OR function GLOB getvariable('report_function');

-- One row for each Init phase (and restore of a snapshot) of an environment. An environment whose Init phase fails has two.
CREATE OR REPLACE TEMP TABLE report_phases AS
WITH numbered AS (
    SELECT
        *,
        CASE WHEN type LIKE 'platform.restore%' THEN 'restore' ELSE 'init' END AS kind,
        count(*) FILTER (WHERE type IN ('platform.initStart', 'platform.restoreStart'))
            OVER (PARTITION BY environment ORDER BY ms, segment, line) AS number
    FROM report_lines
    WHERE in_window
        AND type IN ('platform.initStart', 'platform.initRuntimeDone', 'platform.initReport',
                     'platform.restoreStart', 'platform.restoreRuntimeDone', 'platform.restoreReport')
)
SELECT
    environment,
    kind,
    min(ms) AS start,
    coalesce(
        max(duration_ms) FILTER (WHERE type IN ('platform.initReport', 'platform.restoreReport')),
        max(ms) - min(ms)
    ) AS took,
    coalesce(max(status), '') AS status,
    kind = 'restore' OR max(initialization) = 'on-demand' AS is_cold
FROM numbered
GROUP BY environment, kind, number;

-- One row for each invocation. `took` is the billed part in milliseconds: with extensions, without the Init phase.
-- Without platform.start, which can be in an earlier object, the report gives the start.
-- The first invocation after an Init phase on demand is a cold start, also if its report does not state the duration of Init.
CREATE OR REPLACE TEMP TABLE report_invocations AS
WITH cold AS (
    SELECT environment, min(start) AS start, sum(took) AS took
    FROM report_phases
    WHERE is_cold
    GROUP BY environment
), invoked AS (
    SELECT
        max(function) AS function,
        environment,
        request_id,
        coalesce(
            min(ms) FILTER (WHERE type = 'platform.start'),
            min(ms - duration_ms) FILTER (WHERE type = 'platform.report'),
            min(ms)
        )::BIGINT AS start,
        coalesce(
            max(duration_ms) FILTER (WHERE type = 'platform.report'),
            max(duration_ms) FILTER (WHERE type = 'platform.runtimeDone')
        ) AS took,
        max(duration_ms) FILTER (WHERE type = 'platform.runtimeDone') AS responded,
        coalesce(
            max(status) FILTER (WHERE type = 'platform.report'),
            max(status) FILTER (WHERE type = 'platform.runtimeDone'),
            ''
        ) AS status,
        coalesce(max(error_type) FILTER (WHERE type IN ('platform.report', 'platform.runtimeDone')), '') AS error,
        max(init_ms) AS init,
        max(memory_mb) FILTER (WHERE type = 'platform.report') AS memory_mb,
        max(used_mb) FILTER (WHERE type = 'platform.report') AS used_mb,
        count(bytes) AS lines,
        coalesce(sum(bytes), 0)::BIGINT AS bytes
    FROM report_lines
    WHERE request_id IS NOT NULL AND environment IS NOT NULL AND in_window
    GROUP BY environment, request_id
)
SELECT
    invoked.* REPLACE (
        coalesce(
            invoked.init,
            CASE
                WHEN row_number() OVER (PARTITION BY invoked.environment ORDER BY invoked.start) = 1
                    AND cold.start <= invoked.start
                THEN cold.took
            END
        ) AS init
    )
FROM invoked LEFT JOIN cold USING (environment);

-- One row for each object: what it holds, and when it was stored. The time is NULL for an object that was deleted after its
-- compaction. A raw object is found by its file, and one of a compacted hour by environment and segment.
CREATE OR REPLACE TEMP TABLE report_objects AS
WITH held AS (
    SELECT
        max(function) AS function,
        environment,
        segment,
        max(filename) AS filename,
        min(ms) AS first,
        max(ms) AS last,
        count(*) FILTER (WHERE type NOT IN ('logferry.segment', 'logferry.final')) AS records,
        bool_or(type = 'logferry.final') AS final
    FROM report_lines
    WHERE environment IS NOT NULL AND in_window
    GROUP BY environment, segment
), compacted AS (
    SELECT environment, segment, max(key) AS key, max(size) AS size, max(stored_at) AS stored_at
    FROM listed_files
    WHERE filename IS NULL AND environment IS NOT NULL
    GROUP BY environment, segment
), found AS (
    SELECT
        held.*,
        coalesce(listed.key, compacted.key) AS key,
        coalesce(listed.size, compacted.size) AS size,
        coalesce(listed.stored_at, compacted.stored_at) AS stored_at
    FROM held
    LEFT JOIN listed_files AS listed ON listed.filename = held.filename
    LEFT JOIN compacted
        ON held.filename IS NULL AND compacted.environment = held.environment AND compacted.segment = held.segment
)
SELECT
    * EXCLUDE (filename, stored_at),
    CASE WHEN stored_at IS NOT NULL THEN greatest(epoch_ms(stored_at), first) END AS stored
FROM found;

CREATE OR REPLACE TEMP TABLE report_environments AS
WITH invoked AS (
    SELECT environment, count(*) AS invocations, count(*) FILTER (WHERE status NOT IN ('', 'success')) AS failed
    FROM report_invocations
    GROUP BY environment
)
SELECT
    max(held.function) AS function,
    held.environment,
    min(held.first) AS first,
    max(greatest(held.last, coalesce(held.stored, held.last))) AS last,
    count(*) AS objects,
    arg_max(held.final, held.segment) AS final,
    coalesce(max(invoked.invocations), 0) AS invocations,
    coalesce(max(invoked.failed), 0) AS failed
FROM report_objects AS held LEFT JOIN invoked USING (environment)
GROUP BY held.environment;
