SELECT d0, COUNT(*) AS n FROM (SELECT strftime('%Y', iif(typeof(t."born") = 'text', t."born", t."born" / 1000.0), iif(typeof(t."born") = 'text', '+0 days', 'unixepoch')) || '-Q' || ((strftime('%m', iif(typeof(t."born") = 'text', t."born", t."born" / 1000.0), iif(typeof(t."born") = 'text', '+0 days', 'unixepoch')) + 2) / 3) AS d0 FROM "shop"."facts" t WHERE (t."born" IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension born: Text
-- Count count: Number
