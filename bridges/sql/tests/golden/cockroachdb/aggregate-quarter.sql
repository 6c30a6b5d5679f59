SELECT d0, COUNT(*) AS n FROM (SELECT experimental_strftime(CAST("born" AS timestamp), '%Y') || '-Q' || CAST(CAST(extract(quarter FROM CAST("born" AS timestamp)) AS int) AS text) AS d0 FROM "shop"."facts" WHERE ("born" IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension born: Text
-- Count count: Number
