SELECT COUNT(*) AS n FROM (SELECT 1 AS one FROM "shop"."facts" t) b
-- Count count: Number
