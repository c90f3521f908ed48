-- The 50 newest invocations that failed, timed out, or logged an error.
SELECT started_at, function, requestId, status, error_type, error_lines, duration_ms
FROM invocations
WHERE status <> 'success' OR error_lines > 0
ORDER BY started_at DESC, requestId
LIMIT 50
