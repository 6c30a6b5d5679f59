SELECT d0, COUNT(*) AS n FROM (SELECT experimental_strftime(CAST(t."born" AS timestamp), '%Y') || '-Q' || CAST(CAST(extract(quarter FROM CAST(t."born" AS timestamp)) AS int) AS text) AS d0 FROM "shop"."facts" t WHERE (t."born" IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension born: Text
-- Count count: Number
