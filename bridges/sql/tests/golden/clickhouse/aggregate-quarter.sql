SELECT d0, COUNT(*) AS n FROM (SELECT formatDateTime(toDateTime64(semilayer.`born`, 6, 'UTC'), '%Y-Q%Q', 'UTC') AS d0 FROM `shop`.`facts` semilayer WHERE (semilayer.`born` IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension born: Text
-- Count count: Number
