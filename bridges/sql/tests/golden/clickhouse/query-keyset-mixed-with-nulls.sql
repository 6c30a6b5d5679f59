SELECT t.`id`, t.`cuisine`, t.`country`, t.`rating`, t.`prepTime`, t.`views`, t.`status`, t.`createdAt`, t.`born`, t.`price`, t.`active`, t.`lat`, t.`lng`, t.`spot` FROM `shop`.`facts` t WHERE (((t.`cuisine` > {p0:String} OR t.`cuisine` IS NULL)) OR (t.`cuisine` = {p1:String} AND t.`createdAt` < {p2:DateTime64(6, 'UTC')}) OR (t.`cuisine` = {p3:String} AND t.`createdAt` = {p4:DateTime64(6, 'UTC')} AND t.`id` < {p5:Int64})) ORDER BY t.`cuisine`, t.`createdAt` DESC, t.`id` DESC, t.`country`, t.`rating`, t.`prepTime`, t.`views`, t.`status`, t.`born`, t.`price`, t.`active`, t.`lat`, t.`lng`, t.`spot` LIMIT {p6:Int64}
-- 1: Text("italian") beside Some(Text)
-- 2: Text("italian") beside Some(Text)
-- 3: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 4: Text("italian") beside Some(Text)
-- 5: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 6: Integer(7) beside Some(Integer { bits: 64, signed: true })
-- 7: Integer(11) beside None
-- a page of 10; cursor from columns [1, 7, 0], of which 0 hidden
