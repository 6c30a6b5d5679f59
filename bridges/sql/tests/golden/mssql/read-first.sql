SELECT t.[id], t.[cuisine], t.[country], t.[rating], t.[prepTime], t.[views], t.[status], t.[createdAt], t.[born], t.[price], t.[active], t.[lat], t.[lng], t.[spot] FROM [shop].[facts] t ORDER BY t.[id] OFFSET @p1 ROWS FETCH NEXT @p2 ROWS ONLY
-- 1: Integer(0) beside None
-- 2: Integer(3) beside None
-- a page of 2; cursor from columns [0], of which 0 hidden
