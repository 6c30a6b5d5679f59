SELECT d0, COUNT(*) AS n FROM (SELECT CAST(CAST(strftime('%Y', iif(typeof("createdAt") = 'text', "createdAt", "createdAt" / 1000.0), iif(typeof("createdAt") = 'text', '+0 days', 'unixepoch')) AS INTEGER) AS TEXT) AS d0 FROM "shop"."facts" WHERE ("createdAt" IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension createdAt: Text
-- Count count: Number
