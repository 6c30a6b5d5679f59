SELECT d0, COUNT(*) AS n FROM (SELECT YEAROFWEEKISO(CAST(CONVERT_TIMEZONE('UTC', t."createdAt") AS TIMESTAMP_NTZ)) || '-W' || LPAD(WEEKISO(CAST(CONVERT_TIMEZONE('UTC', t."createdAt") AS TIMESTAMP_NTZ)), 2, '0') AS d0 FROM "shop"."facts" t WHERE (t."createdAt" IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension createdAt: Text
-- Count count: Number
