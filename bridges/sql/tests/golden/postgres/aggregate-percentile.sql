SELECT d0, percentile_cont(9e-1) WITHIN GROUP (ORDER BY c0) AS m0, COUNT(*) AS n FROM (SELECT "country" AS d0, CAST("rating" AS double precision) AS c0 FROM "shop"."facts" WHERE ("country" IS NOT NULL)) b GROUP BY d0
-- Dimension country: Native(Text)
-- Measure p: Number
-- Count count: Number
