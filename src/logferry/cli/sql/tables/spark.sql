-- Objects of logferry as views of Spark 3.5 or 4.
-- Settings: without the first, Spark shows times in the zone of the session. Without the second, hour is an integer.
-- The third groups small objects into one task; with the default of 4 MB, 100,000 objects are 3,000 tasks.
SET spark.sql.session.timeZone = UTC;
SET spark.sql.sources.partitionColumnTypeInference.enabled = false;
SET spark.sql.files.openCostInBytes = 16384;

CREATE OR REPLACE TEMPORARY VIEW logs_raw (
    time TIMESTAMP,
    type STRING,
    message STRING,
    record STRING,
    event STRING,
    requestId STRING,
    requestIdSource STRING,
    environment STRING,
    segment BIGINT,
    line BIGINT,
    function STRING,
    dt STRING,
    hour STRING
)
USING json
OPTIONS (path '{location}', pathGlobFilter '*.ndjson.gz');
