-- Copy of compacted.sql of the package logferry.cli.sql, for Spark. A test compares them.
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
    END AS used_mb
FROM logs
