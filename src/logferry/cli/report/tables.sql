-- Temporary tables of `logferry report`, from the views `logs` and `objects` of a DuckDB session.
-- TRY: DuckDB's parser rejects some JSON texts. Without TRY, one such record makes the complete query fail.

-- One row for each line, without the texts of the function. The objects are read and decompressed once.
CREATE OR REPLACE TEMP TABLE report_lines AS
SELECT
    coalesce(function, '') AS function,
    environment,
    segment,
    line,
    epoch_ms(time) AS ms,
    type,
    requestId AS request_id,
    CASE WHEN type LIKE 'platform.%' OR type LIKE 'logferry.%' THEN record END AS record,
    CASE WHEN type = 'function' THEN octet_length(encode(coalesce(message, record, event, ''))) END AS bytes
FROM logs
WHERE environment IS NOT NULL AND time IS NOT NULL;

-- One row for each invocation. `took` is the billed part in milliseconds: with extensions, without the Init phase.
CREATE OR REPLACE TEMP TABLE report_invocations AS
SELECT
    any_value(function) AS function,
    environment,
    request_id,
    coalesce(min(ms) FILTER (WHERE type = 'platform.start'), min(ms)) AS start,
    coalesce(
        max(TRY_CAST(TRY(record ->> '$.metrics.durationMs') AS DOUBLE)) FILTER (WHERE type = 'platform.report'),
        max(TRY_CAST(TRY(record ->> '$.metrics.durationMs') AS DOUBLE)) FILTER (WHERE type = 'platform.runtimeDone')
    ) AS took,
    max(TRY_CAST(TRY(record ->> '$.metrics.durationMs') AS DOUBLE)) FILTER (WHERE type = 'platform.runtimeDone') AS responded,
    coalesce(
        max(TRY(record ->> '$.status')) FILTER (WHERE type = 'platform.report'),
        max(TRY(record ->> '$.status')) FILTER (WHERE type = 'platform.runtimeDone'),
        ''
    ) AS status,
    coalesce(max(TRY(record ->> '$.errorType')) FILTER (WHERE type IN ('platform.report', 'platform.runtimeDone')), '') AS error,
    max(coalesce(
        TRY_CAST(TRY(record ->> '$.metrics.initDurationMs') AS DOUBLE),
        TRY_CAST(TRY(record ->> '$.metrics.restoreDurationMs') AS DOUBLE)
    )) FILTER (WHERE type = 'platform.report') AS init,
    max(TRY_CAST(TRY(record ->> '$.metrics.memorySizeMB') AS BIGINT)) FILTER (WHERE type = 'platform.report') AS memory_mb,
    max(TRY_CAST(TRY(record ->> '$.metrics.maxMemoryUsedMB') AS BIGINT)) FILTER (WHERE type = 'platform.report') AS used_mb,
    count(bytes) AS lines,
    coalesce(sum(bytes), 0)::BIGINT AS bytes
FROM report_lines
WHERE request_id IS NOT NULL
GROUP BY environment, request_id
HAVING count(*) FILTER (WHERE type IN ('platform.start', 'platform.runtimeDone', 'platform.report')) > 0;

-- One row for each Init phase (and restore of a snapshot) of an environment.
CREATE OR REPLACE TEMP TABLE report_phases AS
SELECT
    environment,
    CASE WHEN type LIKE 'platform.restore%' THEN 'restore' ELSE 'init' END AS kind,
    min(ms) AS start,
    coalesce(
        max(TRY_CAST(TRY(record ->> '$.metrics.durationMs') AS DOUBLE))
            FILTER (WHERE type IN ('platform.initReport', 'platform.restoreReport')),
        max(ms) - min(ms)
    ) AS took,
    coalesce(max(TRY(record ->> '$.status')), '') AS status
FROM report_lines
WHERE type IN ('platform.initStart', 'platform.initRuntimeDone', 'platform.initReport',
               'platform.restoreStart', 'platform.restoreRuntimeDone', 'platform.restoreReport')
GROUP BY environment, 2, coalesce(TRY(record ->> '$.phase'), '');

-- One row for each object: what it holds, and when it was stored. `stored` is NULL if the time is unknown.
CREATE OR REPLACE TEMP TABLE report_objects AS
WITH held AS (
    SELECT
        any_value(function) AS function,
        environment,
        segment,
        min(ms) AS first,
        max(ms) AS last,
        count(*) FILTER (WHERE type NOT IN ('logferry.segment', 'logferry.final')) AS records,
        bool_or(type = 'logferry.final') AS final
    FROM report_lines
    GROUP BY environment, segment
)
SELECT
    held.*,
    objects.key AS key,
    objects.size AS size,
    greatest(epoch_ms(objects.stored_at), held.first) AS stored
FROM held LEFT JOIN objects USING (environment, segment);

CREATE OR REPLACE TEMP TABLE report_environments AS
WITH invoked AS (
    SELECT environment, count(*) AS invocations, count(*) FILTER (status NOT IN ('', 'success')) AS failed
    FROM report_invocations
    GROUP BY environment
)
SELECT
    any_value(held.function) AS function,
    held.environment,
    min(held.first) AS first,
    max(greatest(held.last, coalesce(held.stored, held.last))) AS last,
    count(*) AS objects,
    bool_or(held.final) AS final,
    coalesce(any_value(invoked.invocations), 0) AS invocations,
    coalesce(any_value(invoked.failed), 0) AS failed
FROM report_objects AS held LEFT JOIN invoked USING (environment)
GROUP BY held.environment;
