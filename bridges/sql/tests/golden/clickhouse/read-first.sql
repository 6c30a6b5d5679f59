SELECT t.`id`, t.`cuisine`, t.`country`, t.`rating`, t.`prepTime`, t.`views`, t.`status`, t.`createdAt`, t.`born`, t.`price`, t.`active`, t.`lat`, t.`lng`, t.`spot` FROM `shop`.`facts` t ORDER BY t.`id`, t.`cuisine`, t.`country`, t.`rating`, t.`prepTime`, t.`views`, t.`status`, t.`createdAt`, t.`born`, t.`price`, t.`active`, t.`lat`, t.`lng`, t.`spot` LIMIT {p0:Int64}
-- 1: Integer(3) beside None
-- a page of 2; cursor from columns [0], of which 0 hidden
