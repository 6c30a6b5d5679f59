SELECT t.`id`, t.`cuisine`, t.`country`, t.`rating`, t.`prepTime`, t.`views`, t.`status`, t.`createdAt`, t.`born`, t.`price`, t.`active`, t.`lat`, t.`lng`, t.`spot` FROM `shop`.`facts` t WHERE ((t.`cuisine` IS NULL AND t.`id` > {p0:Int64})) ORDER BY t.`cuisine`, t.`id`, t.`country`, t.`rating`, t.`prepTime`, t.`views`, t.`status`, t.`createdAt`, t.`born`, t.`price`, t.`active`, t.`lat`, t.`lng`, t.`spot` LIMIT {p1:Int64}
-- 1: Integer(7) beside Some(Integer { bits: 64, signed: true })
-- 2: Integer(11) beside None
-- a page of 10; cursor from columns [1, 0], of which 0 hidden
