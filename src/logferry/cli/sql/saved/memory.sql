-- The used memory of each function. A value near 100 % risks an error, and a low one costs more than necessary.
SELECT
    function,
    max(memory_mb) AS memory_mb,
    max(used_mb) AS max_used_mb,
    round(100.0 * max(used_mb) / max(memory_mb), 1) AS percent,
    round(avg(used_mb), 1) AS average_used_mb,
    count(*) AS invocations
FROM invocations
WHERE used_mb IS NOT NULL
GROUP BY function
ORDER BY percent DESC, function
