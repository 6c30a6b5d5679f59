SELECT d0, quantileExactInclusive(9e-1)(c0) AS m0, COUNT(*) AS n FROM (SELECT `country` AS d0, toFloat64(`rating`) AS c0 FROM `shop`.`facts` WHERE (`country` IS NOT NULL)) b GROUP BY d0
-- Dimension country: Native(Text)
-- Measure p: Number
-- Count count: Number
