SELECT semilayer.`cuisine`, semilayer.`id` AS k0 FROM `shop`.`facts` semilayer WHERE (semilayer.`createdAt` > {p0:DateTime64(6, 'UTC')}) AND (semilayer.`id` > {p1:Int64}) ORDER BY semilayer.`id`, semilayer.`cuisine`, semilayer.`country`, semilayer.`rating`, semilayer.`prepTime`, semilayer.`views`, semilayer.`status`, semilayer.`createdAt`, semilayer.`born`, semilayer.`price`, semilayer.`active`, semilayer.`lat`, semilayer.`lng`, semilayer.`spot` LIMIT {p2:Int64}
-- 1: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 2: Integer(42) beside Some(Integer { bits: 64, signed: true })
-- 3: Integer(3) beside None
-- a page of 2; cursor from columns [1], of which 1 hidden
