SELECT "cuisine", "createdAt" AS k0, "id" AS k1 FROM "shop"."facts" WHERE "status" = ? ORDER BY "createdAt" DESC, "id" DESC LIMIT ?
-- 1: Text("published") beside Some(Text)
-- 2: Integer(11) beside None
-- a page of 10; cursor from columns [1, 2], of which 2 hidden
