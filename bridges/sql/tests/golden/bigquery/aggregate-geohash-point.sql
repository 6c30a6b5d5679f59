SELECT d0, COUNT(*) AS n FROM (SELECT ST_GEOHASH(ST_GEOGPOINT(ST_X(t.`spot`), ST_Y(t.`spot`)), 7) AS d0 FROM `shop`.`facts` t WHERE (t.`spot` IS NOT NULL)) b GROUP BY d0
-- Dimension cell: Text
-- Count count: Number
