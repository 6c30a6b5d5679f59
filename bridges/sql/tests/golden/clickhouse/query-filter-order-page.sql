SELECT `id`, `cuisine` FROM `shop`.`facts` WHERE (`status` IN ({p0:String}, {p1:String})) AND (`rating` > {p2:Int64}) ORDER BY `createdAt` DESC, `id` LIMIT {p3:Int64} OFFSET {p4:Int64}
-- 1: Text("draft") beside Some(Text)
-- 2: Text("published") beside Some(Text)
-- 3: Integer(3) beside Some(Integer { bits: 32, signed: true })
-- 4: Integer(10) beside None
-- 5: Integer(20) beside None
