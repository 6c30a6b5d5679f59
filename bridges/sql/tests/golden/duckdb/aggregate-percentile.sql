SELECT d0, quantile_cont(c0, 9e-1) AS m0, COUNT(*) AS n FROM (SELECT "country" AS d0, CAST("rating" AS DOUBLE) AS c0 FROM "shop"."facts" WHERE ("country" IS NOT NULL)) b GROUP BY d0
-- Dimension country: Native(Text)
-- Measure p: Number
-- Count count: Number
