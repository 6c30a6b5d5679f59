SELECT d0, COUNT(*) AS n FROM (SELECT ST_GeoHash(ST_SetSRID(ST_MakePoint(t."lng", t."lat"), 4326), 5) AS d0 FROM "shop"."facts" t WHERE (t."lat" IS NOT NULL) AND (t."lng" IS NOT NULL) AND (CAST(t."lat" AS double precision) BETWEEN -9e1 AND 9e1) AND (CAST(t."lng" AS double precision) BETWEEN -1.8e2 AND 1.8e2)) b GROUP BY d0
-- Dimension cell: Text
-- Count count: Number
