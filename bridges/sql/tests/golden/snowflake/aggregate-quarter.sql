SELECT d0, COUNT(*) AS n FROM (SELECT YEAR(CAST(t."born" AS TIMESTAMP_NTZ)) || '-Q' || QUARTER(CAST(t."born" AS TIMESTAMP_NTZ)) AS d0 FROM "shop"."facts" t WHERE (t."born" IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension born: Text
-- Count count: Number
