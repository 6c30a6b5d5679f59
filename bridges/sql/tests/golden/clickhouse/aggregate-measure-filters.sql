SELECT g.m0, g.m1, g.n FROM (SELECT COUNT(c0) AS m0, sumOrNull(toDecimal128(c1, 0)) AS m1, COUNT(*) AS n FROM (SELECT CASE WHEN semilayer.`status` = {p0:String} THEN 1 END AS c0, CASE WHEN semilayer.`rating` >= {p1:Int64} THEN semilayer.`views` END AS c1 FROM `shop`.`facts` semilayer) b) g WHERE (g.m1 > {p2:Int256}) AND ((g.m0 = {p3:Int64}) OR (g.n < {p4:Int64}))
-- 1: Text("draft") beside Some(Text)
-- 2: Integer(3) beside Some(Integer { bits: 32, signed: true })
-- 3: Decimal("10") beside Some(Decimal)
-- 4: Integer(1) beside Some(Integer { bits: 64, signed: true })
-- 5: Integer(100) beside Some(Integer { bits: 64, signed: true })
-- Measure drafts: Number
-- Measure views: Number
-- Count count: Number
