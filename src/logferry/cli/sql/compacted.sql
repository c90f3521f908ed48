-- Rows of a compacted file: the columns of a line under their own names, and typed columns of the platform's reports.
-- Only records of the platform become typed columns, and a value that has another type is NULL. A record of a function
-- therefore cannot make the statement fail.
SELECT
    instant(time) AS time,
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
        WHEN message IS NULL THEN upper(coalesce(json_text(record, '$.level'), json_text(record, '$.log_level')))
        ELSE nullif(
            regexp_extract(
                substr(message, 1, 200),
                '(^|[^A-Za-z])(TRACE|DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)([^A-Za-z]|$)',
                2
            ),
            ''
        )
    END AS level,
    CASE WHEN type LIKE 'platform.%' THEN json_text(record, '$.status') END AS status,
    CASE WHEN type LIKE 'platform.%' THEN json_text(record, '$.errorType') END AS error_type,
    CASE WHEN type LIKE 'platform.%' THEN TRY_CAST(json_text(record, '$.metrics.durationMs') AS DOUBLE) END AS duration_ms,
    CASE
        WHEN type LIKE 'platform.%' THEN TRY_CAST(json_text(record, '$.metrics.billedDurationMs') AS BIGINT)
    END AS billed_ms,
    CASE WHEN type LIKE 'platform.%' THEN TRY_CAST(json_text(record, '$.metrics.initDurationMs') AS DOUBLE) END AS init_ms,
    CASE WHEN type LIKE 'platform.%' THEN TRY_CAST(json_text(record, '$.metrics.memorySizeMB') AS INTEGER) END AS memory_mb,
    CASE
        WHEN type LIKE 'platform.%' THEN TRY_CAST(json_text(record, '$.metrics.maxMemoryUsedMB') AS INTEGER)
    END AS used_mb
FROM logs
