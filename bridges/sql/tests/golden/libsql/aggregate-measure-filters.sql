SELECT g.m0, g.m1, g.n FROM (SELECT COUNT(c0) AS m0, SUM(c1) AS m1, COUNT(*) AS n FROM (SELECT CASE WHEN t."status" = ? THEN 1 END AS c0, CASE WHEN t."rating" >= ? THEN t."views" END AS c1 FROM "shop"."facts" t) b) g WHERE (g.m1 > ?) AND ((g.m0 = ?) OR (g.n < ?))
-- 1: Text("draft") beside Some(Text)
-- 2: Integer(3) beside Some(Integer { bits: 32, signed: true })
-- 3: Decimal("10") beside Some(Decimal)
-- 4: Integer(1) beside Some(Integer { bits: 64, signed: true })
-- 5: Integer(100) beside Some(Integer { bits: 64, signed: true })
-- Measure drafts: Number
-- Measure views: Number
-- Count count: Number
