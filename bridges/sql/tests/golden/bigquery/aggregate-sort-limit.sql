SELECT d0, SUM(CAST(c0 AS BIGNUMERIC)) AS m0, COUNT(*) AS n FROM (SELECT t.`country` AS d0, t.`views` AS c0 FROM `shop`.`facts` t WHERE (t.`country` IS NOT NULL)) b GROUP BY d0 ORDER BY m0 DESC, d0 LIMIT 3
-- Dimension country: Native(Text)
-- Measure views: Number
-- Count count: Number
