SELECT d0, COUNT(*) AS n FROM (SELECT ST_GeoHash(ST_SetSRID(ST_MakePoint(t."lng", t."lat"), 4326), 5) AS d0 FROM "shop"."facts" t WHERE (t."lat" IS NOT NULL) AND (t."lng" IS NOT NULL)) b GROUP BY d0
-- Dimension cell: Text
-- Count count: Number
