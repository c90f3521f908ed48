-- Queries of `logferry report` on the tables of `tables.sql`. Each begins with its name.

-- name: window
SELECT min(first), max(last), count(*) FROM report_environments;

-- name: environments
SELECT environment, function, first, last, objects, final, invocations, failed
FROM report_environments
ORDER BY function, first, environment;

-- name: functions
WITH invoked AS (
    SELECT
        function,
        count(*) AS invocations,
        count(*) FILTER (WHERE status NOT IN ('', 'success')) AS failed,
        count(*) FILTER (WHERE init IS NOT NULL) AS cold,
        quantile_cont(took, 0.5) AS p50,
        quantile_cont(took, 0.99) AS p99,
        max(took) AS longest,
        avg(took) AS mean,
        max(memory_mb) AS memory_mb,
        sum(lines)::BIGINT AS lines,
        sum(bytes)::BIGINT AS bytes
    FROM report_invocations
    GROUP BY GROUPING SETS ((), (function))
), kept AS (
    SELECT
        function,
        count(*) AS objects,
        sum(size)::BIGINT AS size,
        sum(records)::BIGINT AS records,
        quantile_cont(stored - first, 0.5) AS wait_p50,
        max(stored - first) AS wait_max
    FROM report_objects
    GROUP BY GROUPING SETS ((), (function))
), alive AS (
    SELECT
        function,
        count(*) AS environments,
        count(*) FILTER (WHERE NOT final) AS open,
        sum(last - first)::DOUBLE AS alive
    FROM report_environments
    GROUP BY GROUPING SETS ((), (function))
)
SELECT
    alive.function AS function, environments, open, alive,
    coalesce(invocations, 0) AS invocations, coalesce(failed, 0) AS failed, coalesce(cold, 0) AS cold,
    p50, p99, longest, mean, memory_mb, coalesce(lines, 0) AS lines, coalesce(bytes, 0) AS bytes,
    objects, size, records, wait_p50, wait_max
FROM alive
JOIN kept ON kept.function IS NOT DISTINCT FROM alive.function
LEFT JOIN invoked ON invoked.function IS NOT DISTINCT FROM alive.function
ORDER BY alive.function NULLS FIRST;

-- name: durations
SELECT function, greatest(floor(log10(greatest(took, 0.1)) * 10), -10)::INT AS bin, count(*),
    count(*) FILTER (WHERE status NOT IN ('', 'success'))
FROM report_invocations
WHERE took IS NOT NULL
GROUP BY function, bin
ORDER BY function, bin;

-- name: waits
SELECT function, floor(log10(greatest(stored - first, 1)) * 5)::INT AS bin, count(*)
FROM report_objects
WHERE stored IS NOT NULL
GROUP BY function, bin
ORDER BY function, bin;

-- name: activity
SELECT function, greatest(0, least(floor((start - $start) * $bins / $span), $bins - 1))::INT AS bin, count(*),
    count(*) FILTER (WHERE status NOT IN ('', 'success'))
FROM report_invocations
GROUP BY function, bin
ORDER BY function, bin;

-- name: errors
SELECT function, status, error, count(*) AS times, max(start) AS latest, arg_max(request_id, start, $ids) AS ids,
    max(start, $ids) AS starts
FROM report_invocations
WHERE status NOT IN ('', 'success')
GROUP BY function, status, error
ORDER BY times DESC, latest DESC, function, status, error
LIMIT $most;

-- name: failed
SELECT function, environment, request_id, start, took, responded, status, error, init, used_mb, memory_mb
FROM report_invocations
WHERE status NOT IN ('', 'success')
QUALIFY row_number() OVER (PARTITION BY function ORDER BY start DESC, request_id) <= $each
ORDER BY start DESC, request_id
LIMIT $most;

-- name: slowest
SELECT function, environment, request_id, start, took, responded, status, error, init, used_mb, memory_mb
FROM report_invocations
WHERE took IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY function ORDER BY took DESC, request_id) <= $each
ORDER BY took DESC, request_id
LIMIT $most;

-- name: lane_invocations
SELECT lane, start, took, responded, status, error, init, used_mb, memory_mb, request_id, environment
FROM report_invocations JOIN report_lanes USING (environment)
WHERE alone
ORDER BY lane, start, request_id;

-- name: lane_objects
SELECT lane, segment, first, last, stored, records, size, final, key, environment
FROM report_objects JOIN report_lanes USING (environment)
WHERE alone
ORDER BY lane, first, segment;

-- name: lane_phases
SELECT lane, kind, start, took, status
FROM report_phases JOIN report_lanes USING (environment)
WHERE alone
ORDER BY lane, start;

-- name: lane_bins
SELECT lane, greatest(0, least(floor((start - $start) * $bins / $span), $bins - 1))::INT AS bin, count(*),
    count(*) FILTER (WHERE status NOT IN ('', 'success')), count(*) FILTER (WHERE init IS NOT NULL)
FROM report_invocations JOIN report_lanes USING (environment)
WHERE NOT alone
GROUP BY lane, bin
ORDER BY lane, bin;

-- name: neighbours
SELECT environment, segment, first, last, function, key, records FROM report_objects
WHERE list_contains($environments::VARCHAR[], environment)
ORDER BY environment, segment;

-- name: losses
SELECT function, environment, ms, record
FROM report_lines
WHERE type IN ('logferry.dropped', 'platform.logsDropped') AND in_window
ORDER BY ms
LIMIT $most;
