SELECT [id], [cuisine] FROM [shop].[facts] WHERE ([status] IN (@p1, @p2)) AND ([rating] > @p3) ORDER BY [createdAt] DESC, [id] OFFSET @p4 ROWS FETCH NEXT @p5 ROWS ONLY
-- 1: Text("draft") beside Some(Text)
-- 2: Text("published") beside Some(Text)
-- 3: Integer(3) beside Some(Integer { bits: 32, signed: true })
-- 4: Integer(20) beside None
-- 5: Integer(10) beside None
