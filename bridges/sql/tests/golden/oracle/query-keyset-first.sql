SELECT t."cuisine", t."createdAt" AS k0, t."id" AS k1 FROM "shop"."facts" t WHERE t."status" = :1 ORDER BY t."createdAt" DESC, t."id" DESC OFFSET :2 ROWS FETCH NEXT :3 ROWS ONLY
-- 1: Text("published") beside Some(Text)
-- 2: Integer(0) beside None
-- 3: Integer(11) beside None
-- a page of 10; cursor from columns [1, 2], of which 2 hidden
