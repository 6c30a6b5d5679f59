SELECT d0, sumOrNull(toDecimal128(c0, 0)) AS m0, COUNT(*) AS n FROM (SELECT semilayer.`country` AS d0, semilayer.`views` AS c0 FROM `shop`.`facts` semilayer WHERE (semilayer.`country` IS NOT NULL)) b GROUP BY d0 ORDER BY m0 DESC, d0 LIMIT {p0:Int64}
-- 1: Integer(3) beside None
-- Dimension country: Native(Text)
-- Measure views: Number
-- Count count: Number
