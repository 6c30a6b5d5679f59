SELECT `id`, `cuisine`, `country`, `rating`, `prepTime`, `views`, `status`, `createdAt`, `born`, `price`, `active`, `lat`, `lng`, `spot` FROM `shop`.`facts` WHERE `cuisine` >= ? AND ((`cuisine` > ?) OR (`cuisine` = ? AND `createdAt` < ?) OR (`cuisine` = ? AND `createdAt` = ? AND `id` < ?)) ORDER BY `cuisine`, `createdAt` DESC, `id` DESC LIMIT ?
-- 1: Text("italian") beside Some(Text)
-- 2: Text("italian") beside Some(Text)
-- 3: Text("italian") beside Some(Text)
-- 4: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 5: Text("italian") beside Some(Text)
-- 6: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 7: Integer(7) beside Some(Integer { bits: 64, signed: true })
-- 8: Integer(11) beside None
-- a page of 10; cursor from columns [1, 7, 0], of which 0 hidden
