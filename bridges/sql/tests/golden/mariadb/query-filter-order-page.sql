SELECT `id`, `cuisine` FROM `shop`.`facts` WHERE (`status` IN (?, ?)) AND (`rating` > ?) ORDER BY `createdAt` DESC, `id` LIMIT ? OFFSET ?
-- 1: Text("draft") beside Some(Text)
-- 2: Text("published") beside Some(Text)
-- 3: Integer(3) beside Some(Integer { bits: 32, signed: true })
-- 4: Integer(10) beside None
-- 5: Integer(20) beside None
