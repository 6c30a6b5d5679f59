SELECT `id`, `cuisine`, `country`, `rating`, `prepTime`, `views`, `status`, `createdAt`, `born`, `price`, `active`, `lat`, `lng`, `spot` FROM `shop`.`facts`
