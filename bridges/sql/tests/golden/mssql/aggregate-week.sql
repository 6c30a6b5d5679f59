SELECT d0, COUNT(*) AS n FROM (SELECT CONCAT(YEAR(DATEADD(day, 26 - DATEPART(ISO_WEEK, CAST(SWITCHOFFSET(t.[createdAt], '+00:00') AS datetime2)), CAST(SWITCHOFFSET(t.[createdAt], '+00:00') AS datetime2))), '-W', RIGHT(CONCAT('0', DATEPART(ISO_WEEK, CAST(SWITCHOFFSET(t.[createdAt], '+00:00') AS datetime2))), 2)) AS d0 FROM [shop].[facts] t WHERE (t.[createdAt] IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension createdAt: Text
-- Count count: Number
