SELECT d0, COUNT(*) AS n FROM (SELECT CAST(FLOOR(CAST(t.`prepTime` AS FLOAT64) / 3e1) AS INT64) AS d0 FROM `shop`.`facts` t WHERE (t.`prepTime` IS NOT NULL)) b GROUP BY d0
-- Dimension prepTime: Step(30.0)
-- Count count: Number
