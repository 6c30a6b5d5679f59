SELECT d0, COUNT(*) AS n FROM (SELECT toString(geoToH3(t.`lng`, t.`lat`, 7)) AS d0 FROM `shop`.`facts` t WHERE (t.`lat` IS NOT NULL) AND (t.`lng` IS NOT NULL)) b GROUP BY d0
-- Dimension cell: Text
-- Count count: Number
