SELECT d0, (array_agg(c0 ORDER BY o0, k0) FILTER (WHERE o0 IS NOT NULL))[1] AS m0, (array_agg(c1 ORDER BY o1 DESC, k0) FILTER (WHERE o1 IS NOT NULL))[1] AS m1, COUNT(*) AS n FROM (SELECT "country" AS d0, "cuisine" AS c0, "createdAt" AS o0, CASE WHEN "status" = $1 THEN "views" END AS c1, CASE WHEN "status" = $2 THEN "createdAt" END AS o1, "id" AS k0 FROM "shop"."facts" WHERE ("country" IS NOT NULL)) b GROUP BY d0
-- 1: Text("published") beside Some(Text)
-- 2: Text("published") beside Some(Text)
-- Dimension country: Native(Text)
-- Measure f: Native(Text)
-- Measure l: Native(Integer { bits: 64, signed: true })
-- Count count: Number
