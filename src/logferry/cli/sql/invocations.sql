-- One row for each request. A request that Lambda repeats in the same environment is one row with several attempts.
-- Without a report, an invocation is still running, or its report is in a later object. init_ms is set for a cold start.
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
GROUP BY function, environment, requestId
