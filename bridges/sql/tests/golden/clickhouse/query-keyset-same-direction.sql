SELECT t.`id`, t.`cuisine`, t.`country`, t.`rating`, t.`prepTime`, t.`views`, t.`status`, t.`createdAt`, t.`born`, t.`price`, t.`active`, t.`lat`, t.`lng`, t.`spot` FROM `shop`.`facts` t WHERE (t.`createdAt`, t.`id`) < ({p0:DateTime64(6, 'UTC')}, {p1:Int64}) ORDER BY t.`createdAt` DESC, t.`id` DESC, t.`cuisine`, t.`country`, t.`rating`, t.`prepTime`, t.`views`, t.`status`, t.`born`, t.`price`, t.`active`, t.`lat`, t.`lng`, t.`spot` LIMIT {p2:Int64}
-- 1: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 2: Integer(7) beside Some(Integer { bits: 64, signed: true })
-- 3: Integer(11) beside None
-- a page of 10; cursor from columns [7, 0], of which 0 hidden
