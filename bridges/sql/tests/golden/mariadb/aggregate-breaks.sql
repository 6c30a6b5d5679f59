SELECT d0, COUNT(*) AS n FROM (SELECT CASE WHEN (`prepTime` + 0e0) < 3e1 THEN 0 WHEN (`prepTime` + 0e0) < 6.05e1 THEN 1 ELSE 2 END AS d0 FROM `shop`.`facts` WHERE (`prepTime` IS NOT NULL) AND ((`prepTime` + 0e0) >= 0e0 AND (`prepTime` + 0e0) < 1.2e2)) b GROUP BY d0
-- Dimension prepTime: Breaks([0.0, 30.0, 60.5, 120.0])
-- Count count: Number
