SELECT `id`, `cuisine` FROM `shop`.`facts` WHERE (`status` IN {p0:Array(String)}) AND (`rating` > {p1:Int64}) ORDER BY `createdAt` DESC, `id` LIMIT {p2:Int64} OFFSET {p3:Int64}
-- 1: List([Text("draft"), Text("published")]) beside Some(Text)
-- 2: Integer(3) beside Some(Integer { bits: 32, signed: true })
-- 3: Integer(10) beside None
-- 4: Integer(20) beside None
