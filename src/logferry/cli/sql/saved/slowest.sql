-- The 20 invocations with the longest duration.
SELECT started_at, function, requestId, duration_ms, billed_ms, init_ms, used_mb, status
FROM invocations
WHERE duration_ms IS NOT NULL
ORDER BY duration_ms DESC, started_at, requestId
LIMIT 20
