SELECT semilayer.`id`, semilayer.`cuisine`, semilayer.`country`, semilayer.`rating`, semilayer.`prepTime`, semilayer.`views`, semilayer.`status`, semilayer.`createdAt`, semilayer.`born`, semilayer.`price`, semilayer.`active`, semilayer.`lat`, semilayer.`lng`, semilayer.`spot` FROM `shop`.`facts` semilayer WHERE (semilayer.`createdAt`, semilayer.`id`) < ({p0:DateTime64(6, 'UTC')}, {p1:Int64}) ORDER BY semilayer.`createdAt` DESC, semilayer.`id` DESC, semilayer.`cuisine`, semilayer.`country`, semilayer.`rating`, semilayer.`prepTime`, semilayer.`views`, semilayer.`status`, semilayer.`born`, semilayer.`price`, semilayer.`active`, semilayer.`lat`, semilayer.`lng`, semilayer.`spot` LIMIT {p2:Int64}
-- 1: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 2: Integer(7) beside Some(Integer { bits: 64, signed: true })
-- 3: Integer(11) beside None
-- a page of 10; cursor from columns [7, 0], of which 0 hidden
