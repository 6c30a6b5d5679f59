SELECT COUNT(*) FROM "shop"."facts"
