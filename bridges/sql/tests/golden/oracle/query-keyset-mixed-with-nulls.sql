SELECT t."id", t."cuisine", t."country", t."rating", t."prepTime", t."views", t."status", t."createdAt", t."born", t."price", t."active", t."lat", t."lng", t."spot" FROM "shop"."facts" t WHERE (((t."cuisine" > :1 OR t."cuisine" IS NULL)) OR (t."cuisine" = :2 AND t."createdAt" < :3) OR (t."cuisine" = :4 AND t."createdAt" = :5 AND t."id" < :6)) ORDER BY t."cuisine", t."createdAt" DESC, t."id" DESC OFFSET :7 ROWS FETCH NEXT :8 ROWS ONLY
-- 1: Text("italian") beside Some(Text)
-- 2: Text("italian") beside Some(Text)
-- 3: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 4: Text("italian") beside Some(Text)
-- 5: Timestamp(2026-01-02T03:04:05.000Z) beside Some(TimestampTz)
-- 6: Integer(7) beside Some(Integer { bits: 64, signed: true })
-- 7: Integer(0) beside None
-- 8: Integer(11) beside None
-- a page of 10; cursor from columns [1, 7, 0], of which 0 hidden
