-- Objects of logferry as an external table of Athena, with partition projection and without a crawler.
-- Replace the first day in projection.dt.range.
-- The column names are in lower case: the SerDe matches the keys of a line whatever their case is.
-- `time` is a string in logs_raw, because Hive's timestamps have no Z. The view `logs` converts it.
-- `function` is an injected partition: each query names the function, as in WHERE "function" = 'orders-api'.
CREATE EXTERNAL TABLE logs_raw (
    `time` string,
    `type` string,
    `message` string,
    `record` string,
    `event` string,
    `requestid` string,
    `requestidsource` string,
    `environment` string,
    `segment` bigint,
    `line` bigint
)
PARTITIONED BY (
    `function` string,
    `dt` string,
    `hour` string
)
ROW FORMAT SERDE 'org.apache.hive.hcatalog.data.JsonSerDe'
LOCATION '{location}/'
TBLPROPERTIES (
    'projection.enabled' = 'true',
    'projection.function.type' = 'injected',
    'projection.dt.type' = 'date',
    'projection.dt.format' = 'yyyy-MM-dd',
    'projection.dt.range' = '2026-01-01,NOW+1DAYS',
    'projection.hour.type' = 'integer',
    'projection.hour.range' = '0,23',
    'projection.hour.digits' = '2',
    'storage.location.template' = '{location}/function=${function}/dt=${dt}/hour=${hour}/'
);
