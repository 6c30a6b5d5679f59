SELECT semilayer.`cuisine`, semilayer.`createdAt` AS k0, semilayer.`id` AS k1 FROM `shop`.`facts` semilayer WHERE semilayer.`status` = {p0:String} ORDER BY semilayer.`createdAt` DESC, semilayer.`id` DESC, semilayer.`cuisine`, semilayer.`country`, semilayer.`rating`, semilayer.`prepTime`, semilayer.`views`, semilayer.`status`, semilayer.`born`, semilayer.`price`, semilayer.`active`, semilayer.`lat`, semilayer.`lng`, semilayer.`spot` LIMIT {p1:Int64}
-- 1: Text("published") beside Some(Text)
-- 2: Integer(11) beside None
-- a page of 10; cursor from columns [1, 2], of which 2 hidden
