-- The lines of one request.
SELECT
    time,
    coalesce(message, json_extract_scalar(record, '$.message'), record, event) AS text
FROM logs
WHERE "function" = 'orders-api' AND dt = '2026-11-21' AND requestid = '459921b5-681c-4a96-beb0-81e0aa586026'
ORDER BY environment, segment, line;

-- The 99th percentile of the duration by hour.
SELECT dt, hour, approx_percentile(duration_ms, 0.99) AS p99_ms
FROM logs
WHERE "function" = 'orders-api' AND dt >= '2026-11-01' AND "type" = 'platform.report'
GROUP BY dt, hour
ORDER BY dt, hour;
