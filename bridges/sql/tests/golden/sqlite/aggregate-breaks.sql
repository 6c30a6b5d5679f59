SELECT d0, COUNT(*) AS n FROM (SELECT CASE WHEN CAST(t."prepTime" AS REAL) < 3e1 THEN 0 WHEN CAST(t."prepTime" AS REAL) < 6.05e1 THEN 1 ELSE 2 END AS d0 FROM "shop"."facts" t WHERE (t."prepTime" IS NOT NULL) AND (CAST(t."prepTime" AS REAL) >= 0e0 AND CAST(t."prepTime" AS REAL) < 1.2e2)) b GROUP BY d0
-- Dimension prepTime: Breaks([0.0, 30.0, 60.5, 120.0])
-- Count count: Number
