SELECT `id`, `cuisine`, `country`, `rating`, `prepTime`, `views`, `status`, `createdAt`, `born`, `price`, `active`, `lat`, `lng`, `spot` FROM `shop`.`facts` WHERE ((`cuisine` IS NOT NULL) OR (`cuisine` IS NULL AND `id` > ?)) ORDER BY `cuisine`, `id` LIMIT ?
-- 1: Integer(7) beside Some(Integer { bits: 64, signed: true })
-- 2: Integer(11) beside None
-- a page of 10; cursor from columns [1, 0], of which 0 hidden
