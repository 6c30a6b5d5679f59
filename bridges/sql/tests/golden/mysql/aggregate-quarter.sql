SELECT d0, COUNT(*) AS n FROM (SELECT CONCAT(DATE_FORMAT(t.`born`, '%Y'), '-Q', QUARTER(t.`born`)) AS d0 FROM `shop`.`facts` t WHERE (t.`born` IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension born: Text
-- Count count: Number
