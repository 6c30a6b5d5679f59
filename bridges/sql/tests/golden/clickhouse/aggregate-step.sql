SELECT d0, COUNT(*) AS n FROM (SELECT floor(toFloat64(semilayer.`prepTime`) / 3e1) AS d0 FROM `shop`.`facts` semilayer WHERE (semilayer.`prepTime` IS NOT NULL)) b GROUP BY d0
-- Dimension prepTime: Step(30.0)
-- Count count: Number
