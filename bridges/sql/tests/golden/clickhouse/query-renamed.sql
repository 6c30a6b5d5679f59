SELECT semilayer.`cuisine` AS `id`, semilayer.`id` AS `b"ad``]` FROM `shop`.`facts` semilayer WHERE semilayer.`id` > {p0:Int64} ORDER BY semilayer.`id` DESC
-- 1: Integer(5) beside Some(Integer { bits: 64, signed: true })
