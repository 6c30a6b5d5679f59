SELECT d0, COUNT(*) AS n FROM (SELECT geohashEncode(toFloat64(semilayer.`lng`), toFloat64(semilayer.`lat`), 5) AS d0 FROM `shop`.`facts` semilayer WHERE (semilayer.`lat` IS NOT NULL) AND (semilayer.`lng` IS NOT NULL) AND (toFloat64(semilayer.`lat`) BETWEEN -9e1 AND 9e1) AND (toFloat64(semilayer.`lng`) BETWEEN -1.8e2 AND 1.8e2)) b GROUP BY d0
-- Dimension cell: Text
-- Count count: Number
