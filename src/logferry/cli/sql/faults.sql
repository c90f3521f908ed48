-- Statement 2 of the proof: one row for each fault in the rows of statement 1. No row: nothing is missing or duplicated.
-- A row of segments without lines is a segment that exists, but whose object could not be read.
-- Segments that a logferry.dropped record reports lost are no gap. Rows of several hours can be together: a copy of an
-- object in another hour gives more distinct lines than the highest number.
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
        json_text(loss, '$.environment'),
        TRY_CAST(json_text(loss, '$.segment') AS BIGINT),
        TRY_CAST(coalesce(json_text(loss, '$.until'), json_text(loss, '$.segment')) AS BIGINT)
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
WHERE environment IS NULL
