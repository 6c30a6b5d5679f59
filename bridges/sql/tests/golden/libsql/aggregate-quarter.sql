SELECT d0, COUNT(*) AS n FROM (SELECT strftime('%Y', iif(typeof("born") = 'text', "born", "born" / 1000.0), iif(typeof("born") = 'text', '+0 days', 'unixepoch')) || '-Q' || ((strftime('%m', iif(typeof("born") = 'text', "born", "born" / 1000.0), iif(typeof("born") = 'text', '+0 days', 'unixepoch')) + 2) / 3) AS d0 FROM "shop"."facts" WHERE ("born" IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension born: Text
-- Count count: Number
