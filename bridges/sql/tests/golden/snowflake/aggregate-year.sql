SELECT d0, COUNT(*) AS n FROM (SELECT CAST(YEAR(CAST(CONVERT_TIMEZONE('UTC', t."createdAt") AS TIMESTAMP_NTZ)) AS VARCHAR) AS d0 FROM "shop"."facts" t WHERE (t."createdAt" IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension createdAt: Text
-- Count count: Number
