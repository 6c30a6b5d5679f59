SELECT d0, COUNT(*) AS n FROM (SELECT to_char(("createdAt" AT TIME ZONE 'UTC'), 'YYYY-MM') AS d0 FROM "shop"."facts" WHERE ("createdAt" IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension createdAt: Text
-- Count count: Number
