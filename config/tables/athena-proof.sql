-- Proof of completeness with Athena. Statement 1 stores a row for each segment, and statement 2 finds the faults in them.
-- The table logs needs a function in each query: replace the function and the days, and add further ones with INSERT.
CREATE TABLE segments
WITH (format = 'PARQUET', external_location = 's3://my-log-bucket/proof/segments/') AS
SELECT
    environment,
    segment,
    CASE WHEN type = 'logferry.dropped' THEN record END AS loss,
    count(*) AS lines,
    count(DISTINCT line) AS distinct_lines,
    max(line) AS highest_line,
    max(CASE WHEN type IN ('logferry.segment', 'logferry.final') THEN line ELSE 0 END) AS closing_line,
    max(CASE WHEN type = 'logferry.final' THEN 1 ELSE 0 END) AS final,
    min(time) AS first_time,
    max(time) AS last_time
FROM logs
WHERE "function" = 'orders-api' AND dt BETWEEN '2026-11-21' AND '2026-11-22'
GROUP BY environment, segment, CASE WHEN type = 'logferry.dropped' THEN record END;

WITH segment_totals AS (
    SELECT
        environment,
        segment,
        sum(lines) AS lines,
        sum(distinct_lines) AS distinct_lines,
        max(highest_line) AS highest_line,
        max(closing_line) AS closing_line
    FROM segments
    WHERE environment IS NOT NULL
    GROUP BY environment, segment
),
known AS (
    SELECT environment, segment AS first_segment, segment AS last_segment
    FROM segment_totals
    UNION ALL
    SELECT
        json_extract_scalar(loss, '$.environment'),
        TRY_CAST(json_extract_scalar(loss, '$.segment') AS BIGINT),
        TRY_CAST(coalesce(json_extract_scalar(loss, '$.until'), json_extract_scalar(loss, '$.segment')) AS BIGINT)
    FROM segments
    WHERE loss IS NOT NULL
),
preceded AS (
    SELECT
        environment,
        first_segment,
        coalesce(
            max(last_segment) OVER (
                PARTITION BY environment
                ORDER BY first_segment, last_segment
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ),
            0
        ) AS known_until
    FROM known
    WHERE environment IS NOT NULL AND first_segment IS NOT NULL
)
SELECT
    environment,
    known_until + 1 AS first_segment,
    first_segment - 1 AS last_segment,
    'segments missing' AS fault,
    first_segment - 1 - known_until AS amount
FROM preceded
WHERE first_segment > known_until + 1
UNION ALL
SELECT
    environment,
    segment,
    segment,
    'lines duplicated',
    lines - CASE WHEN distinct_lines < highest_line THEN distinct_lines ELSE highest_line END
FROM segment_totals
WHERE lines > distinct_lines OR distinct_lines > highest_line
UNION ALL
SELECT environment, segment, segment, 'lines missing', highest_line - distinct_lines
FROM segment_totals
WHERE highest_line > distinct_lines
UNION ALL
SELECT environment, segment, segment, 'no closing line', NULL
FROM segment_totals
WHERE closing_line = 0 AND lines > 0
UNION ALL
SELECT environment, segment, segment, 'lines after the closing line', highest_line - closing_line
FROM segment_totals
WHERE closing_line > 0 AND closing_line <> highest_line
UNION ALL
SELECT NULL, NULL, NULL, 'lines unreadable', lines
FROM segments
WHERE environment IS NULL;

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
GROUP BY segment_totals.environment;
