-- The lines of one request.
SELECT
    from_iso8601_timestamp("time") AS at,
    coalesce(message, json_extract_scalar(record, '$.message'), record, event) AS text
FROM logs
WHERE "function" = 'orders-api' AND dt = '2026-11-21' AND requestid = '459921b5-681c-4a96-beb0-81e0aa586026'
ORDER BY environment, segment, line;

-- The 99th percentile of the duration by hour.
SELECT dt, hour, approx_percentile(CAST(json_extract_scalar(record, '$.metrics.durationMs') AS double), 0.99) AS p99_ms
FROM logs
WHERE "function" = 'orders-api' AND dt >= '2026-11-01' AND "type" = 'platform.report'
GROUP BY dt, hour
ORDER BY dt, hour;

-- Records that the settings have filtered or masked, by day.
SELECT
    dt,
    sum(CAST(json_extract_scalar(record, '$.records') AS bigint)) AS records,
    sum(coalesce(CAST(json_extract_scalar(record, '$.filtered') AS bigint), 0)) AS filtered,
    sum(coalesce(CAST(json_extract_scalar(record, '$.masked') AS bigint), 0)) AS masked
FROM logs
WHERE "function" = 'orders-api' AND dt >= '2026-11-01' AND "type" IN ('logferry.segment', 'logferry.final')
GROUP BY dt
ORDER BY dt;
