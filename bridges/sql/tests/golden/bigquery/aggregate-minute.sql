SELECT d0, COUNT(*) AS n FROM (SELECT FORMAT_TIMESTAMP('%Y-%m-%dT%H:%M', t.`createdAt`, 'UTC') AS d0 FROM `shop`.`facts` t WHERE (t.`createdAt` IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension createdAt: Text
-- Count count: Number
