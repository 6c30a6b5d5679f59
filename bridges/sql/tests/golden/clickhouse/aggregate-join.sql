SELECT d0, d1, sumOrNull(toDecimal128(c0, 0)) AS m0, COUNT(*) AS n FROM (SELECT j0.`region` AS d0, semilayer.`cuisine` AS d1, semilayer.`views` AS c0 FROM `shop`.`facts` semilayer LEFT JOIN (SELECT x.*, ROW_NUMBER() OVER (PARTITION BY x.`pk` ORDER BY x.`pk`) AS semilayer_row FROM `shop`.`child` x) j0 ON semilayer.`id` = j0.`pk` AND j0.semilayer_row = 1 LEFT JOIN (SELECT x.*, ROW_NUMBER() OVER (PARTITION BY x.`region` ORDER BY x.`pk`) AS semilayer_row FROM `shop`.`child` x) j1 ON semilayer.`country` = j1.`region` AND j1.semilayer_row = 1 WHERE ((j0.`tier` = {p0:String}) AND (semilayer.`status` = {p1:String})) AND (j0.`region` IS NOT NULL) AND (semilayer.`cuisine` IS NOT NULL)) b GROUP BY d0, d1
-- 1: Text("gold") beside Some(Text)
-- 2: Text("published") beside Some(Text)
-- Dimension region: Native(Text)
-- Dimension cuisine: Native(Text)
-- Measure views: Number
-- Count count: Number
