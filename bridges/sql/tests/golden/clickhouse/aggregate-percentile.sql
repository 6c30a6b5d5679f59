SELECT d0, quantileExactInclusiveOrNull(9e-1)(c0) AS m0, COUNT(*) AS n FROM (SELECT semilayer.`country` AS d0, toFloat64(semilayer.`rating`) AS c0 FROM `shop`.`facts` semilayer WHERE (semilayer.`country` IS NOT NULL)) b GROUP BY d0
-- Dimension country: Native(Text)
-- Measure p: Number
-- Count count: Number
