SELECT d0, COUNT(*) AS n FROM (SELECT formatDateTime(toDateTime64(`born`, 6, 'UTC'), '%Y-Q%Q', 'UTC') AS d0 FROM `shop`.`facts` WHERE (`born` IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension born: Text
-- Count count: Number
