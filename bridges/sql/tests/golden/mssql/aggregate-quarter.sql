SELECT d0, COUNT(*) AS n FROM (SELECT CONCAT(CONVERT(varchar(4), CAST(t.[born] AS datetime2), 126), '-Q', DATEPART(quarter, CAST(t.[born] AS datetime2))) AS d0 FROM [shop].[facts] t WHERE (t.[born] IS NOT NULL)) b GROUP BY d0 HAVING d0 IS NOT NULL
-- Dimension born: Text
-- Count count: Number
