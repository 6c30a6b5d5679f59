SELECT d0, COUNT(*) AS n FROM (SELECT ST_GeoHash(ST_SetSRID(ST_MakePoint(ST_X(CAST(t."spot" AS geometry)), ST_Y(CAST(t."spot" AS geometry))), 4326), 7) AS d0 FROM "shop"."facts" t WHERE (t."spot" IS NOT NULL)) b GROUP BY d0
-- Dimension cell: Text
-- Count count: Number
