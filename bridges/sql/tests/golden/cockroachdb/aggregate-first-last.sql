SELECT d0, (array_agg(c0 ORDER BY o0, k0) FILTER (WHERE o0 IS NOT NULL))[1] AS m0, (array_agg(c1 ORDER BY o1 DESC, k0) FILTER (WHERE o1 IS NOT NULL))[1] AS m1, COUNT(*) AS n FROM (SELECT t."country" AS d0, t."cuisine" AS c0, t."createdAt" AS o0, CASE WHEN t."status" = $1 THEN t."views" END AS c1, CASE WHEN t."status" = $2 THEN t."createdAt" END AS o1, t."id" AS k0 FROM "shop"."facts" t WHERE (t."country" IS NOT NULL)) b GROUP BY d0
-- 1: Text("published") beside Some(Text)
-- 2: Text("published") beside Some(Text)
-- Dimension country: Native(Text)
-- Measure f: Native(Text)
-- Measure l: Native(Integer { bits: 64, signed: true })
-- Count count: Number
