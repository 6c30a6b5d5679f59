SELECT d0, COUNT(*) AS n FROM (SELECT CASE WHEN toFloat64(semilayer.`prepTime`) < 3e1 THEN 0 WHEN toFloat64(semilayer.`prepTime`) < 6.05e1 THEN 1 ELSE 2 END AS d0 FROM `shop`.`facts` semilayer WHERE (semilayer.`prepTime` IS NOT NULL) AND (toFloat64(semilayer.`prepTime`) >= 0e0 AND toFloat64(semilayer.`prepTime`) < 1.2e2)) b GROUP BY d0
-- Dimension prepTime: Breaks([0.0, 30.0, 60.5, 120.0])
-- Count count: Number
