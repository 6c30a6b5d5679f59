SELECT d0, COUNT(*) AS n FROM (SELECT TO_CHAR(CAST(CONVERT_TIMEZONE('UTC', t."createdAt") AS TIMESTAMP_NTZ), 'YYYY-MM') AS d0 FROM "shop"."facts" t WHERE (t."createdAt" IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension createdAt: Text
-- Count count: Number
