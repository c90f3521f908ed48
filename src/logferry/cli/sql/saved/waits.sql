-- The time from the first record of an object until the object was stored, for each function.
SELECT
    function,
    count(*) AS objects,
    round(avg(epoch_ms(waited)) / 1000, 1) AS average_seconds,
    round(max(epoch_ms(waited)) / 1000, 1) AS max_seconds,
    sum(records) AS records,
    sum(size) AS bytes
FROM objects
WHERE waited IS NOT NULL
GROUP BY function
ORDER BY max_seconds DESC, function
