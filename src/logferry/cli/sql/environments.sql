-- One row for each execution environment in the rows of statement 1.
-- is_open = 1: its highest segment is not final. The environment is running, or it ended without SHUTDOWN, and objects after
-- the highest segment cannot be known. Compare the number of platform.start records with the metric Invocations.
WITH segment_totals AS (
    SELECT
        environment,
        segment,
        sum(lines) AS lines,
        sum(distinct_lines) AS distinct_lines,
        max(closing_line) AS closing_line,
        max(final) AS final,
        min(first_time) AS first_time,
        max(last_time) AS last_time
    FROM segments
    WHERE environment IS NOT NULL
    GROUP BY environment, segment
),
highest AS (
    SELECT environment, max(segment) AS segment
    FROM segment_totals
    GROUP BY environment
)
SELECT
    segment_totals.environment AS environment,
    count(*) AS segments,
    sum(distinct_lines - CASE WHEN closing_line > 0 THEN 1 ELSE 0 END) AS records,
    min(first_time) AS first_time,
    max(last_time) AS last_time,
    max(highest.segment) AS highest_segment,
    1 - max(CASE WHEN segment_totals.segment = highest.segment THEN final ELSE 0 END) AS is_open
FROM segment_totals
JOIN highest ON segment_totals.environment = highest.environment
GROUP BY segment_totals.environment
