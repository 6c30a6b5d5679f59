SELECT d0, COUNT(*) AS n FROM (SELECT CAST(EXTRACT(YEAR FROM t.`createdAt`) AS STRING) AS d0 FROM `shop`.`facts` t WHERE (t.`createdAt` IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension createdAt: Text
-- Count count: Number
