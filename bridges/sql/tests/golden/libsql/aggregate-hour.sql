SELECT d0, COUNT(*) AS n FROM (SELECT strftime('%Y-%m-%dT%H', iif(typeof(t."createdAt") = 'text', t."createdAt", t."createdAt" / 1000.0), iif(typeof(t."createdAt") = 'text', '+0 days', 'unixepoch')) AS d0 FROM "shop"."facts" t WHERE (t."createdAt" IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension createdAt: Text
-- Count count: Number
