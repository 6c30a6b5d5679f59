SELECT t.`cuisine` AS `id`, t.`id` AS `b"ad``]` FROM `shop`.`facts` t WHERE t.`id` > ? ORDER BY t.`id` DESC
-- 1: Integer(5) beside Some(Integer { bits: 64, signed: true })
