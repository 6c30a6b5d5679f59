SELECT d0, quantile_cont(c0, 9e-1) AS m0, COUNT(*) AS n FROM (SELECT t."country" AS d0, CAST(t."rating" AS DOUBLE) AS c0 FROM "shop"."facts" t WHERE (t."country" IS NOT NULL)) b GROUP BY d0
-- Dimension country: Native(Text)
-- Measure p: Number
-- Count count: Number
