SELECT t.`cuisine`, t.`id` AS k0 FROM `shop`.`facts` t WHERE (t.`createdAt` > {p0:DateTime64(6, 'UTC')}) AND (t.`id` > {p1:Int64}) ORDER BY t.`id`, t.`cuisine`, t.`country`, t.`rating`, t.`prepTime`, t.`views`, t.`status`, t.`createdAt`, t.`born`, t.`price`, t.`active`, t.`lat`, t.`lng`, t.`spot` LIMIT {p2:Int64}
-- 1: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 2: Integer(42) beside Some(Integer { bits: 64, signed: true })
-- 3: Integer(3) beside None
-- a page of 2; cursor from columns [1], of which 1 hidden
