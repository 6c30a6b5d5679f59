SELECT d0, COUNT(*) AS n FROM (SELECT strftime(CAST(t."born" AS TIMESTAMP), '%Y') || '-Q' || quarter(CAST(t."born" AS TIMESTAMP)) AS d0 FROM "shop"."facts" t WHERE (t."born" IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension born: Text
-- Count count: Number
