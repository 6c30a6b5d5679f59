SELECT d0, COUNT(*) AS n FROM (SELECT FORMAT_TIMESTAMP('%Y-Q%Q', TIMESTAMP(`born`), 'UTC') AS d0 FROM `shop`.`facts` WHERE (`born` IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension born: Text
-- Count count: Number
