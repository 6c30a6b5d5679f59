SELECT semilayer.`id`, semilayer.`cuisine`, semilayer.`country`, semilayer.`rating`, semilayer.`prepTime`, semilayer.`views`, semilayer.`status`, semilayer.`createdAt`, semilayer.`born`, semilayer.`price`, semilayer.`active`, semilayer.`lat`, semilayer.`lng`, semilayer.`spot` FROM `shop`.`facts` semilayer WHERE (((semilayer.`cuisine` > {p0:String} OR semilayer.`cuisine` IS NULL)) OR (semilayer.`cuisine` = {p1:String} AND semilayer.`createdAt` < {p2:DateTime64(6, 'UTC')}) OR (semilayer.`cuisine` = {p3:String} AND semilayer.`createdAt` = {p4:DateTime64(6, 'UTC')} AND semilayer.`id` < {p5:Int64})) ORDER BY semilayer.`cuisine`, semilayer.`createdAt` DESC, semilayer.`id` DESC, semilayer.`country`, semilayer.`rating`, semilayer.`prepTime`, semilayer.`views`, semilayer.`status`, semilayer.`born`, semilayer.`price`, semilayer.`active`, semilayer.`lat`, semilayer.`lng`, semilayer.`spot` LIMIT {p6:Int64}
-- 1: Text("italian") beside Some(Text)
-- 2: Text("italian") beside Some(Text)
-- 3: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 4: Text("italian") beside Some(Text)
-- 5: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 6: Integer(7) beside Some(Integer { bits: 64, signed: true })
-- 7: Integer(11) beside None
-- a page of 10; cursor from columns [1, 7, 0], of which 0 hidden
