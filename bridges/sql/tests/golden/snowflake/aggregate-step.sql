SELECT d0, COUNT(*) AS n FROM (SELECT FLOOR(CAST("prepTime" AS DOUBLE) / 3e1) AS d0 FROM "shop"."facts" WHERE ("prepTime" IS NOT NULL)) b GROUP BY d0
-- Dimension prepTime: Step(30.0)
-- Count count: Number
