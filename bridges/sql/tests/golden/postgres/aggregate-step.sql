SELECT d0, COUNT(*) AS n FROM (SELECT FLOOR(CAST(t."prepTime" AS double precision) / 3e1) AS d0 FROM "shop"."facts" t WHERE (t."prepTime" IS NOT NULL)) b GROUP BY d0
-- Dimension prepTime: Step(30.0)
-- Count count: Number
