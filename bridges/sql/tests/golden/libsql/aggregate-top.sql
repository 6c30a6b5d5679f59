WITH b AS (SELECT t."country" AS d0, t."cuisine" AS c0, CASE WHEN t."rating" = ? THEN CAST(t."createdAt" AS TEXT) END AS c1 FROM "shop"."facts" t WHERE (t."country" IS NOT NULL)), l0 AS (SELECT d0, json_group_array(json_object('key', iif(typeof(v) = 'blob', hex(v), v), 'count', n) ORDER BY r) AS v FROM (SELECT d0, v, n, ROW_NUMBER() OVER (PARTITION BY d0 ORDER BY n DESC, v) AS r FROM (SELECT d0, c0 AS v, COUNT(*) AS n FROM b WHERE c0 IS NOT NULL GROUP BY d0, c0) x) y WHERE r <= 2 GROUP BY d0), l1 AS (SELECT d0, json_group_array(json_object('key', iif(typeof(v) = 'blob', hex(v), v), 'count', n) ORDER BY r) AS v FROM (SELECT d0, v, n, ROW_NUMBER() OVER (PARTITION BY d0 ORDER BY n DESC, v) AS r FROM (SELECT d0, c1 AS v, COUNT(*) AS n FROM b WHERE c1 IS NOT NULL GROUP BY d0, c1) x) y WHERE r <= 1 GROUP BY d0) SELECT g.d0, l0.v, l1.v, g.n FROM (SELECT d0, COUNT(*) AS n FROM b GROUP BY d0) g LEFT JOIN l0 ON l0.d0 = g.d0 LEFT JOIN l1 ON l1.d0 = g.d0 WHERE g.n >= ? ORDER BY g.n DESC, g.d0 LIMIT ?
-- 1: Integer(5) beside Some(Integer { bits: 32, signed: true })
-- 2: Integer(2) beside Some(Integer { bits: 64, signed: true })
-- 3: Integer(5) beside None
-- Dimension country: Native(Text)
-- Measure top: Json
-- Measure days: Json
-- Count count: Number
