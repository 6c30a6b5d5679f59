SELECT d0, COUNT(*) AS n FROM (SELECT formatDateTime(toDateTime64(semilayer.`createdAt`, 6, 'UTC'), '%Y-%m', 'UTC') AS d0 FROM `shop`.`facts` semilayer WHERE (semilayer.`createdAt` IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension createdAt: Text
-- Count count: Number
