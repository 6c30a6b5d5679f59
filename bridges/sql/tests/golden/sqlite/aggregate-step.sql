SELECT d0, COUNT(*) AS n FROM (SELECT (CAST(CAST("prepTime" AS REAL) / 3e1 AS INTEGER) - (CAST("prepTime" AS REAL) / 3e1 < CAST(CAST("prepTime" AS REAL) / 3e1 AS INTEGER))) AS d0 FROM "shop"."facts" WHERE ("prepTime" IS NOT NULL)) b GROUP BY d0
-- Dimension prepTime: Step(30.0)
-- Count count: Number
