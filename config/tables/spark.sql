-- Objects of logferry as views of Spark 3.5 or 4.
-- Settings: without the first, Spark shows times in the zone of the session. Without the second, hour is an integer.
-- The third groups small objects into one task; with the default of 4 MB, 100,000 objects are 3,000 tasks.
SET spark.sql.session.timeZone = UTC;
SET spark.sql.sources.partitionColumnTypeInference.enabled = false;
SET spark.sql.files.openCostInBytes = 16384;

CREATE OR REPLACE TEMPORARY VIEW logs_raw (
    time TIMESTAMP,
    type STRING,
    message STRING,
    record STRING,
    event STRING,
    requestId STRING,
    requestIdSource STRING,
    environment STRING,
    segment BIGINT,
    line BIGINT,
    function STRING,
    dt STRING,
    hour STRING
)
USING json
OPTIONS (path 's3a://my-log-bucket/logs', pathGlobFilter '*.ndjson.gz');

-- Lines with typed columns of the platform's reports.
CREATE OR REPLACE TEMPORARY VIEW logs AS
SELECT
    time AS time,
    type,
    message,
    record,
    event,
    requestId,
    requestIdSource,
    environment,
    CAST(segment AS INTEGER) AS segment,
    CAST(line AS INTEGER) AS line,
    CASE
        WHEN type <> 'function' THEN NULL
        WHEN message IS NULL THEN upper(coalesce(get_json_object(record, '$.level'), get_json_object(record, '$.log_level')))
        ELSE nullif(
            regexp_extract(
                substr(message, 1, 200),
                '(^|[^A-Za-z])(TRACE|DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)([^A-Za-z]|$)',
                2
            ),
            ''
        )
    END AS level,
    CASE WHEN type LIKE 'platform.%' THEN get_json_object(record, '$.status') END AS status,
    CASE WHEN type LIKE 'platform.%' THEN get_json_object(record, '$.errorType') END AS error_type,
    CASE WHEN type LIKE 'platform.%' THEN TRY_CAST(get_json_object(record, '$.metrics.durationMs') AS DOUBLE) END AS duration_ms,
    CASE
        WHEN type LIKE 'platform.%' THEN TRY_CAST(get_json_object(record, '$.metrics.billedDurationMs') AS BIGINT)
    END AS billed_ms,
    CASE WHEN type LIKE 'platform.%' THEN TRY_CAST(get_json_object(record, '$.metrics.initDurationMs') AS DOUBLE) END AS init_ms,
    CASE WHEN type LIKE 'platform.%' THEN TRY_CAST(get_json_object(record, '$.metrics.memorySizeMB') AS INTEGER) END AS memory_mb,
    CASE
        WHEN type LIKE 'platform.%' THEN TRY_CAST(get_json_object(record, '$.metrics.maxMemoryUsedMB') AS INTEGER)
    END AS used_mb,
    function,
    dt,
    hour
FROM logs_raw;

-- One row for each line that a function wrote. The text of a function that logs JSON is its field `message`.
CREATE OR REPLACE TEMPORARY VIEW function_lines AS
SELECT
    time,
    function,
    requestId,
    coalesce(message, get_json_object(record, '$.message'), record, event) AS text,
    level,
    environment,
    segment,
    line,
    dt,
    hour
FROM logs
WHERE type = 'function';

-- One row for each request. A request that Lambda repeats in the same environment is one row with several attempts.
-- Without a report, an invocation is still running, or its report is in a later object. init_ms is set for a cold start.
CREATE OR REPLACE TEMPORARY VIEW invocations AS
SELECT
    function,
    environment,
    requestId,
    min(CASE WHEN type = 'platform.start' THEN time END) AS started_at,
    max(time) AS last_time,
    coalesce(
        max(CASE WHEN type = 'platform.report' THEN status END),
        max(CASE WHEN type = 'platform.runtimeDone' THEN status END)
    ) AS status,
    max(CASE WHEN type IN ('platform.report', 'platform.runtimeDone') THEN error_type END) AS error_type,
    max(CASE WHEN type = 'platform.report' THEN duration_ms END) AS duration_ms,
    max(CASE WHEN type = 'platform.report' THEN billed_ms END) AS billed_ms,
    max(CASE WHEN type = 'platform.report' THEN init_ms END) AS init_ms,
    max(CASE WHEN type = 'platform.report' THEN memory_mb END) AS memory_mb,
    max(CASE WHEN type = 'platform.report' THEN used_mb END) AS used_mb,
    sum(CASE WHEN type = 'platform.start' THEN 1 ELSE 0 END) AS attempts,
    sum(CASE WHEN type = 'function' THEN 1 ELSE 0 END) AS lines,
    sum(CASE WHEN type = 'function' AND level IN ('ERROR', 'CRITICAL', 'FATAL') THEN 1 ELSE 0 END) AS error_lines
FROM logs
WHERE requestId IS NOT NULL
GROUP BY function, environment, requestId;

-- One row for each invocation that timed out or ran out of memory, with the evidence.
CREATE OR REPLACE TEMPORARY VIEW failures AS
SELECT
    time,
    function,
    requestId,
    CASE WHEN type = 'logferry.timeout' THEN 'timeout' ELSE 'outOfMemory' END AS failure,
    get_json_object(record, '$.evidence') AS evidence,
    environment,
    dt,
    hour
FROM logs
WHERE type IN ('logferry.timeout', 'logferry.outOfMemory');

-- One row for each summary of an invocation: its HTTP calls, its events, and the resources that it used.
-- A field of a feature that is off is NULL. So are memory, /tmp, descriptors and threads of an invocation that ended
-- within a second of another one, unless it failed.
CREATE OR REPLACE TEMPORARY VIEW invocation_summaries AS
SELECT
    time,
    function,
    requestId,
    get_json_object(record, '$.status') AS status,
    TRY_CAST(get_json_object(record, '$.durationMs') AS DOUBLE) AS duration_ms,
    TRY_CAST(get_json_object(record, '$.calls.count') AS BIGINT) AS calls,
    TRY_CAST(get_json_object(record, '$.calls.errors') AS BIGINT) AS call_errors,
    TRY_CAST(get_json_object(record, '$.calls.ms') AS DOUBLE) AS call_ms,
    TRY_CAST(get_json_object(record, '$.events') AS BIGINT) AS events,
    TRY_CAST(get_json_object(record, '$.usage.cpuMs') AS DOUBLE) AS cpu_ms,
    TRY_CAST(get_json_object(record, '$.usage.ownCpuMs') AS DOUBLE) AS own_cpu_ms,
    TRY_CAST(get_json_object(record, '$.usage.peakRssBytes') AS BIGINT) AS peak_rss_bytes,
    TRY_CAST(get_json_object(record, '$.usage.tmpUsedBytes') AS BIGINT) AS tmp_used_bytes,
    TRY_CAST(get_json_object(record, '$.usage.descriptors') AS BIGINT) AS descriptors,
    TRY_CAST(get_json_object(record, '$.usage.threads') AS BIGINT) AS threads,
    environment,
    dt,
    hour
FROM logs
WHERE type = 'logferry.invocation';

-- One row for each object: the numbers of its records, and of those that the settings have filtered or masked, and
-- whether it was stored in the fallback destination.
CREATE OR REPLACE TEMPORARY VIEW object_counts AS
SELECT
    time,
    function,
    environment,
    segment,
    CAST(get_json_object(record, '$.records') AS BIGINT) AS records,
    coalesce(CAST(get_json_object(record, '$.filtered') AS BIGINT), 0) AS filtered,
    coalesce(CAST(get_json_object(record, '$.masked') AS BIGINT), 0) AS masked,
    coalesce(CAST(get_json_object(record, '$.failed') AS BIGINT), 0) AS failed,
    coalesce(get_json_object(record, '$.fallback'), 'false') = 'true' AS fallback,
    dt,
    hour
FROM logs
WHERE type IN ('logferry.segment', 'logferry.final');

-- Statement 1 of the proof: one row for each segment, and one more for each loss that it reports.
-- It reads every line once. Store the rows: statement 2 (faults.sql) reads only them.
-- Each hour can be read by itself, and its rows are then added to those of the other hours.
CREATE OR REPLACE TEMPORARY VIEW segments AS
SELECT
    environment,
    segment,
    CASE WHEN type = 'logferry.dropped' THEN record END AS loss,
    count(*) AS lines,
    count(DISTINCT line) AS distinct_lines,
    max(line) AS highest_line,
    max(CASE WHEN type IN ('logferry.segment', 'logferry.final') THEN line ELSE 0 END) AS closing_line,
    max(CASE WHEN type = 'logferry.final' THEN 1 ELSE 0 END) AS final,
    min(time) AS first_time,
    max(time) AS last_time
FROM logs_raw
GROUP BY environment, segment, CASE WHEN type = 'logferry.dropped' THEN record END;

-- Statement 2 of the proof: one row for each fault in the rows of statement 1. No row: nothing is missing or duplicated.
-- A row of segments without lines is a segment that exists, but whose object could not be read.
-- Segments that a logferry.dropped record reports lost are no gap. Rows of several hours can be together: a copy of an
-- object in another hour gives more distinct lines than the highest number.
CREATE OR REPLACE TEMPORARY VIEW faults AS
WITH segment_totals AS (
    SELECT
        environment,
        segment,
        sum(lines) AS lines,
        sum(distinct_lines) AS distinct_lines,
        max(highest_line) AS highest_line,
        max(closing_line) AS closing_line
    FROM segments
    WHERE environment IS NOT NULL
    GROUP BY environment, segment
),
known AS (
    SELECT environment, segment AS first_segment, segment AS last_segment
    FROM segment_totals
    UNION ALL
    SELECT
        get_json_object(loss, '$.environment'),
        TRY_CAST(get_json_object(loss, '$.segment') AS BIGINT),
        TRY_CAST(coalesce(get_json_object(loss, '$.until'), get_json_object(loss, '$.segment')) AS BIGINT)
    FROM segments
    WHERE loss IS NOT NULL
),
preceded AS (
    SELECT
        environment,
        first_segment,
        coalesce(
            max(last_segment) OVER (
                PARTITION BY environment
                ORDER BY first_segment, last_segment
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ),
            0
        ) AS known_until
    FROM known
    WHERE environment IS NOT NULL AND first_segment IS NOT NULL
)
SELECT
    environment,
    known_until + 1 AS first_segment,
    first_segment - 1 AS last_segment,
    'segments missing' AS fault,
    first_segment - 1 - known_until AS amount
FROM preceded
WHERE first_segment > known_until + 1
UNION ALL
SELECT
    environment,
    segment,
    segment,
    'lines duplicated',
    lines - CASE WHEN distinct_lines < highest_line THEN distinct_lines ELSE highest_line END
FROM segment_totals
WHERE lines > distinct_lines OR distinct_lines > highest_line
UNION ALL
SELECT environment, segment, segment, 'lines missing', highest_line - distinct_lines
FROM segment_totals
WHERE highest_line > distinct_lines
UNION ALL
SELECT environment, segment, segment, 'no closing line', NULL
FROM segment_totals
WHERE closing_line = 0 AND lines > 0
UNION ALL
SELECT environment, segment, segment, 'lines after the closing line', highest_line - closing_line
FROM segment_totals
WHERE closing_line > 0 AND closing_line <> highest_line
UNION ALL
SELECT NULL, NULL, NULL, 'lines unreadable', lines
FROM segments
WHERE environment IS NULL;

-- Lifecycle rule, for a file lifecycle.json. It replaces the existing rules of the bucket:
-- aws s3api put-bucket-lifecycle-configuration --bucket my-log-bucket --lifecycle-configuration file://lifecycle.json
-- {
--   "Rules": [
--     {
--       "ID": "logferry-delete-raw-objects",
--       "Status": "Enabled",
--       "Filter": {
--         "Prefix": "logs/function="
--       },
--       "Expiration": {
--         "Days": 90
--       }
--     },
--     {
--       "ID": "logferry-compacted-infrequent-access",
--       "Status": "Enabled",
--       "Filter": {
--         "Prefix": "logs/compact/"
--       },
--       "Transitions": [
--         {
--           "Days": 30,
--           "StorageClass": "STANDARD_IA"
--         }
--       ]
--     }
--   ]
-- }
