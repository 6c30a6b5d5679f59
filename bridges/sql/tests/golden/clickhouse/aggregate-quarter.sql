SELECT d0, COUNT(*) AS n FROM (SELECT formatDateTime(toDateTime64(t.`born`, 6, 'UTC'), '%Y-Q%Q', 'UTC') AS d0 FROM `shop`.`facts` t WHERE (t.`born` IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension born: Text
-- Count count: Number
