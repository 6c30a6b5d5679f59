SELECT t.`cuisine`, t.`createdAt` AS k0, t.`id` AS k1 FROM `shop`.`facts` t WHERE t.`status` = {p0:String} ORDER BY t.`createdAt` DESC, t.`id` DESC, t.`cuisine`, t.`country`, t.`rating`, t.`prepTime`, t.`views`, t.`status`, t.`born`, t.`price`, t.`active`, t.`lat`, t.`lng`, t.`spot` LIMIT {p1:Int64}
-- 1: Text("published") beside Some(Text)
-- 2: Integer(11) beside None
-- a page of 10; cursor from columns [1, 2], of which 2 hidden
