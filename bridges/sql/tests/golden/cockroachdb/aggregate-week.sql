SELECT d0, COUNT(*) AS n FROM (SELECT CAST(CAST(extract(isoyear FROM (t."createdAt" AT TIME ZONE 'UTC')) AS int) AS text) || '-W' || lpad(CAST(CAST(extract(week FROM (t."createdAt" AT TIME ZONE 'UTC')) AS int) AS text), 2, '0') AS d0 FROM "shop"."facts" t WHERE (t."createdAt" IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension createdAt: Text
-- Count count: Number
