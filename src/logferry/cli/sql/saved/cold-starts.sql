-- The share of cold starts of each function, and the duration of their Init phase.
SELECT
    function,
    count(*) AS invocations,
    count(init_ms) AS cold_starts,
    round(100.0 * count(init_ms) / count(*), 1) AS percent,
    round(avg(init_ms), 1) AS average_init_ms,
    max(init_ms) AS max_init_ms
FROM invocations
WHERE duration_ms IS NOT NULL
GROUP BY function
ORDER BY cold_starts DESC, function
