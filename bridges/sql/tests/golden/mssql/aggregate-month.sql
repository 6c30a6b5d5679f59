SELECT d0, COUNT(*) AS n FROM (SELECT CONVERT(varchar(7), CAST(SWITCHOFFSET(t.[createdAt], '+00:00') AS datetime2), 126) AS d0 FROM [shop].[facts] t WHERE (t.[createdAt] IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension createdAt: Text
-- Count count: Number
