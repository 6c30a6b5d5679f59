SELECT d0, COUNT(*) AS n FROM (SELECT ST_GEOHASH(ST_MAKEPOINT(ST_X("spot"), ST_Y("spot")), 7) AS d0 FROM "shop"."facts" WHERE ("spot" IS NOT NULL)) b GROUP BY d0
-- Dimension cell: Text
-- Count count: Number
