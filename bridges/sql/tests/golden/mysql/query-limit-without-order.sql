SELECT `id`, `cuisine`, `country`, `rating`, `prepTime`, `views`, `status`, `createdAt`, `born`, `price`, `active`, `lat`, `lng`, `spot` FROM `shop`.`facts` LIMIT ?
-- 1: Integer(5) beside None
