SELECT d0, SUM(CASE WHEN ABS(9e-1 * (v0 - 1) - (r0 - 1)) < 1 THEN c0 * (1 - ABS(9e-1 * (v0 - 1) - (r0 - 1))) END) AS m0, COUNT(*) AS n FROM (SELECT b.*, ROW_NUMBER() OVER (PARTITION BY d0, CASE WHEN c0 IS NULL THEN 1 ELSE 0 END ORDER BY c0) AS r0, COUNT(c0) OVER (PARTITION BY d0) AS v0 FROM (SELECT t.`country` AS d0, (t.`rating` + 0e0) AS c0 FROM `shop`.`facts` t WHERE (t.`country` IS NOT NULL)) b) b GROUP BY d0
-- Dimension country: Native(Text)
-- Measure p: Number
-- Count count: Number
