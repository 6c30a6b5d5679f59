SELECT d0, COUNT(*) AS n FROM (SELECT semilayer.`country` AS d0 FROM `shop`.`facts` semilayer WHERE (semilayer.`id` IN {p0:Array(Int64)}) AND (rand64() / 18446744073709551616. < 5e-1) AND (semilayer.`country` IS NOT NULL)) b GROUP BY d0
-- 1: List([Integer(1), Integer(2)]) beside Some(Integer { bits: 64, signed: true })
-- Dimension country: Native(Text)
-- Count count: Number
