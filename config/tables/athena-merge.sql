-- Compaction with Athena: the lines of one function and hour are added to an Iceberg table.
-- A second run adds nothing, because environment, segment and line identify a line.
-- Verify the hour first (logferry verify, or athena-proof.sql). MERGE itself finds no missing line.
-- Replace the location, and the function, date and hour of the WHERE clause. Athena writes 100 partitions at most in a
-- statement. OPTIMIZE compacted REWRITE DATA USING BIN_PACK joins the small files of many runs.
CREATE TABLE IF NOT EXISTS compacted (
    `time` timestamp,
    `type` string,
    `message` string,
    `record` string,
    `event` string,
    `requestid` string,
    `requestidsource` string,
    `environment` string,
    `segment` int,
    `line` int,
    `level` string,
    `status` string,
    `error_type` string,
    `duration_ms` double,
    `billed_ms` bigint,
    `init_ms` double,
    `memory_mb` int,
    `used_mb` int,
    `function` string,
    `dt` string,
    `hour` string
)
PARTITIONED BY (`function`, `dt`)
LOCATION 's3://my-log-bucket/iceberg/compacted/'
TBLPROPERTIES ('table_type' = 'ICEBERG', 'format' = 'parquet', 'write_compression' = 'zstd');

MERGE INTO compacted AS t
USING (
    SELECT
        CAST(from_iso8601_timestamp(time) AS timestamp(6) with time zone) AS time,
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
            WHEN message IS NULL THEN upper(coalesce(json_extract_scalar(record, '$.level'), json_extract_scalar(record, '$.log_level')))
            ELSE nullif(
                regexp_extract(
                    substr(message, 1, 200),
                    '(^|[^A-Za-z])(TRACE|DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)([^A-Za-z]|$)',
                    2
                ),
                ''
            )
        END AS level,
        CASE WHEN type LIKE 'platform.%' THEN json_extract_scalar(record, '$.status') END AS status,
        CASE WHEN type LIKE 'platform.%' THEN json_extract_scalar(record, '$.errorType') END AS error_type,
        CASE WHEN type LIKE 'platform.%' THEN TRY_CAST(json_extract_scalar(record, '$.metrics.durationMs') AS DOUBLE) END AS duration_ms,
        CASE
            WHEN type LIKE 'platform.%' THEN TRY_CAST(json_extract_scalar(record, '$.metrics.billedDurationMs') AS BIGINT)
        END AS billed_ms,
        CASE WHEN type LIKE 'platform.%' THEN TRY_CAST(json_extract_scalar(record, '$.metrics.initDurationMs') AS DOUBLE) END AS init_ms,
        CASE WHEN type LIKE 'platform.%' THEN TRY_CAST(json_extract_scalar(record, '$.metrics.memorySizeMB') AS INTEGER) END AS memory_mb,
        CASE
            WHEN type LIKE 'platform.%' THEN TRY_CAST(json_extract_scalar(record, '$.metrics.maxMemoryUsedMB') AS INTEGER)
        END AS used_mb,
        "function",
        dt,
        "hour"
    FROM logs
    WHERE "function" = 'orders-api' AND dt = '2026-11-21' AND "hour" = '02'
) AS s
ON t.environment = s.environment AND t.segment = s.segment AND t.line = s.line
    AND t.dt = s.dt AND t."function" = s."function"
WHEN NOT MATCHED THEN
    INSERT ("time", "type", message, record, event, requestid, requestidsource, environment, segment, line, level, status, error_type, duration_ms, billed_ms, init_ms, memory_mb, used_mb, "function", dt, "hour")
    VALUES (s."time", s."type", s.message, s.record, s.event, s.requestid, s.requestidsource, s.environment, s.segment, s.line, s.level, s.status, s.error_type, s.duration_ms, s.billed_ms, s.init_ms, s.memory_mb, s.used_mb, s."function", s.dt, s."hour");
