SELECT "id", "cuisine" FROM "shop"."facts" WHERE ("status" = ANY($1)) AND ("rating" > $2) ORDER BY "createdAt" DESC, "id" LIMIT $3 OFFSET $4
-- 1: List([Text("draft"), Text("published")]) beside Some(Text)
-- 2: Integer(3) beside Some(Integer { bits: 32, signed: true })
-- 3: Integer(10) beside None
-- 4: Integer(20) beside None
