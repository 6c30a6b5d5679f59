SELECT d0, COUNT(*) AS n FROM (SELECT (CAST(CAST(t."prepTime" AS REAL) / 3e1 AS INTEGER) - (CAST(t."prepTime" AS REAL) / 3e1 < CAST(CAST(t."prepTime" AS REAL) / 3e1 AS INTEGER))) AS d0 FROM "shop"."facts" t WHERE (t."prepTime" IS NOT NULL)) b GROUP BY d0
-- Dimension prepTime: Step(30.0)
-- Count count: Number
