SELECT d0, COUNT(*) AS n FROM (SELECT TO_CHAR(CAST(CONVERT_TIMEZONE('UTC', "createdAt") AS TIMESTAMP_NTZ), 'YYYY-MM-DD"T"HH24:MI') AS d0 FROM "shop"."facts" WHERE ("createdAt" IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension createdAt: Text
-- Count count: Number
