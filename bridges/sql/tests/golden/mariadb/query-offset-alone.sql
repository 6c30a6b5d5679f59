SELECT `id`, `cuisine`, `country`, `rating`, `prepTime`, `views`, `status`, `createdAt`, `born`, `price`, `active`, `lat`, `lng`, `spot` FROM `shop`.`facts` ORDER BY `id` LIMIT 18446744073709551615 OFFSET ?
-- 1: Integer(5) beside None
