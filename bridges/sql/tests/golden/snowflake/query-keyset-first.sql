SELECT t."cuisine", t."createdAt" AS k0, t."id" AS k1 FROM "shop"."facts" t WHERE t."status" = ? ORDER BY t."createdAt" DESC, t."id" DESC LIMIT 11
-- 1: Text("published") beside Some(Text)
-- a page of 10; cursor from columns [1, 2], of which 2 hidden
