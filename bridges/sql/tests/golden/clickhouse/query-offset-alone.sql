SELECT `id`, `cuisine`, `country`, `rating`, `prepTime`, `views`, `status`, `createdAt`, `born`, `price`, `active`, `lat`, `lng`, `spot` FROM `shop`.`facts` ORDER BY `id` LIMIT 9223372036854775807 OFFSET {p0:Int64}
-- 1: Integer(5) beside None
