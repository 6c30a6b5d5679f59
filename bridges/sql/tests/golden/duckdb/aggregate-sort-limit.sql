SELECT d0, SUM(c0) AS m0, COUNT(*) AS n FROM (SELECT "country" AS d0, "views" AS c0 FROM "shop"."facts" WHERE ("country" IS NOT NULL)) b GROUP BY d0 ORDER BY m0 DESC, d0 LIMIT ?
-- 1: Integer(3) beside None
-- Dimension country: Native(Text)
-- Measure views: Number
-- Count count: Number
