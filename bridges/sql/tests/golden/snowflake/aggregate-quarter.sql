SELECT d0, COUNT(*) AS n FROM (SELECT YEAR(CAST("born" AS TIMESTAMP_NTZ)) || '-Q' || QUARTER(CAST("born" AS TIMESTAMP_NTZ)) AS d0 FROM "shop"."facts" WHERE ("born" IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension born: Text
-- Count count: Number
