SELECT d0, COUNT(*) AS n FROM (SELECT ST_GeoHash(POINT(`lng`, `lat`), 5) AS d0 FROM `shop`.`facts` WHERE (`lat` IS NOT NULL) AND (`lng` IS NOT NULL)) b GROUP BY d0
-- Dimension cell: Text
-- Count count: Number
