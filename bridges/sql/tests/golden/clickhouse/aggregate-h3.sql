SELECT d0, COUNT(*) AS n FROM (SELECT toString(geoToH3(`lng`, `lat`, 7)) AS d0 FROM `shop`.`facts` WHERE (`lat` IS NOT NULL) AND (`lng` IS NOT NULL)) b GROUP BY d0
-- Dimension cell: Text
-- Count count: Number
