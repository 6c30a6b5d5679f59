SELECT t.`cuisine`, t.`id` AS k0 FROM `shop`.`facts` t WHERE (t.`createdAt` > ?) AND (t.`id` > ?) ORDER BY t.`id` LIMIT 3
-- 1: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 2: Integer(42) beside Some(Integer { bits: 64, signed: true })
-- a page of 2; cursor from columns [1], of which 1 hidden
