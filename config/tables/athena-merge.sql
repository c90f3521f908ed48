-- Compaction with Athena: the lines of one function and hour are added to an Iceberg table.
-- A second run adds nothing, because environment, segment and line identify a line.
-- Prove the hour first (the view faults in athena.sql, or logferry verify). MERGE itself finds no missing line.
-- The source is the view logs of athena.sql.
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
        CAST("time" AS timestamp(6)) AS "time",
        "type",
        message,
        record,
        event,
        requestid,
        requestidsource,
        environment,
        segment,
        line,
        level,
        status,
        error_type,
        duration_ms,
        billed_ms,
        init_ms,
        memory_mb,
        used_mb,
        "function",
        dt,
        "hour"
    FROM logs
    WHERE "function" = 'orders-api' AND dt = '2026-11-21' AND "hour" = '02'
) AS s
ON t.environment = s.environment AND t.segment = s.segment AND t.line = s.line
    AND t.dt = s.dt AND t."function" = s."function"
WHEN NOT MATCHED THEN
    INSERT (
        "time", "type", message, record, event, requestid, requestidsource, environment, segment, line, level,
        status, error_type, duration_ms, billed_ms, init_ms, memory_mb, used_mb, "function", dt, "hour"
    )
    VALUES (
        s."time", s."type", s.message, s.record, s.event, s.requestid, s.requestidsource, s.environment, s.segment,
        s.line, s.level, s.status, s.error_type, s.duration_ms, s.billed_ms, s.init_ms, s.memory_mb, s.used_mb,
        s."function", s.dt, s."hour"
    );
