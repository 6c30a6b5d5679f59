SELECT "id", "cuisine" FROM "shop"."facts" WHERE ("status" IN (:1, :2)) AND ("rating" > :3) ORDER BY "createdAt" DESC, "id" OFFSET :4 ROWS FETCH NEXT :5 ROWS ONLY
-- 1: Text("draft") beside Some(Text)
-- 2: Text("published") beside Some(Text)
-- 3: Integer(3) beside Some(Integer { bits: 32, signed: true })
-- 4: Integer(20) beside None
-- 5: Integer(10) beside None
