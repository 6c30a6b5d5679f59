SELECT d0, MAX(CASE WHEN r0 = 1 AND o0 IS NOT NULL THEN c0 END) AS m0, MAX(CASE WHEN r1 = 1 AND o1 IS NOT NULL THEN c1 END) AS m1, COUNT(*) AS n FROM (SELECT b.*, ROW_NUMBER() OVER (PARTITION BY d0, CASE WHEN o0 IS NULL THEN 1 ELSE 0 END ORDER BY o0, k0) AS r0, ROW_NUMBER() OVER (PARTITION BY d0, CASE WHEN o1 IS NULL THEN 1 ELSE 0 END ORDER BY o1 DESC, k0) AS r1 FROM (SELECT semilayer.`country` AS d0, semilayer.`cuisine` AS c0, semilayer.`createdAt` AS o0, CASE WHEN semilayer.`status` = {p0:String} THEN semilayer.`views` END AS c1, CASE WHEN semilayer.`status` = {p1:String} THEN semilayer.`createdAt` END AS o1, semilayer.`id` AS k0 FROM `shop`.`facts` semilayer WHERE (semilayer.`country` IS NOT NULL)) b) b GROUP BY d0
-- 1: Text("published") beside Some(Text)
-- 2: Text("published") beside Some(Text)
-- Dimension country: Native(Text)
-- Measure f: Native(Text)
-- Measure l: Native(Integer { bits: 64, signed: true })
-- Count count: Number
