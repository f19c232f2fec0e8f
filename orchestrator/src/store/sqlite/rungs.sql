-- A stream's rungs are kept whole, where their names were: a ladder may be made for the stream, and stand nowhere else.

UPDATE streams SET rungs = (
    SELECT json_group_array(json(rung)) FROM (
        SELECT ladder.value AS rung
        FROM json_each(streams.rungs) AS name
        JOIN json_each(streams.profile, '$.ladder') AS ladder ON json_extract(ladder.value, '$.name') = name.value
        ORDER BY name.key
    )
);

PRAGMA user_version = 5;
