SELECT d0, COUNT(*) AS n FROM (SELECT TO_CHAR(CAST(t."born" AS TIMESTAMP), 'YYYY-"Q"Q') AS d0 FROM "shop"."facts" t WHERE (t."born" IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension born: Text
-- Count count: Number
