WITH b AS MATERIALIZED (SELECT t."country" AS c0 FROM "shop"."facts" t WHERE ((random() & 9223372036854775807) / 9223372036854775808.0 < 2.5e-1)), l0 AS (SELECT json_group_array(json_object('key', iif(typeof(v) = 'blob', hex(v), v), 'count', n) ORDER BY r) AS v FROM (SELECT v, n, ROW_NUMBER() OVER (ORDER BY n DESC, v) AS r FROM (SELECT c0 AS v, COUNT(*) AS n FROM b WHERE c0 IS NOT NULL GROUP BY c0) x) y WHERE r <= 2) SELECT l0.v, g.n FROM (SELECT COUNT(*) AS n FROM b) g CROSS JOIN l0
-- Measure top: Json
-- Count count: Number
