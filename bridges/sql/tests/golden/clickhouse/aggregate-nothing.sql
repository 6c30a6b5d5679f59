SELECT COUNT(*) AS n FROM (SELECT 1 AS one FROM `shop`.`facts` semilayer) b
-- Count count: Number
