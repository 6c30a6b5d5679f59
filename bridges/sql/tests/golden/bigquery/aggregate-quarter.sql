SELECT d0, COUNT(*) AS n FROM (SELECT FORMAT_TIMESTAMP('%Y-Q%Q', TIMESTAMP(t.`born`), 'UTC') AS d0 FROM `shop`.`facts` t WHERE (t.`born` IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension born: Text
-- Count count: Number
